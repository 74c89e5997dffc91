"""How often those on a network are told something, and how long to leave them alone when they do not answer."""

import random
from dataclasses import dataclass

from edgex_runtime.freshness import State
from edgex_runtime.sinks.sink import LiveResult

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0


def backoff_s(failures: int) -> float:
    """How long to wait after so many failures in a row: doubles up to half a minute, less a part that chance decides.

    >>> 0.25 <= backoff_s(0) <= 0.5, 15 <= backoff_s(1_000_000) <= 30
    (True, True)
    """
    longest_s = min(BACKOFF_FIRST_S * 2.0 ** min(failures, 16), BACKOFF_MAX_S)
    # Jitter, so that a hundred boards do not come back to a restarted server in the same moment.
    return longest_s * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often one source's results are told.

    Attributes:
        every_ns: A new label is told at most so often, None never; a new state and events at once.
        refresh_ns: What has not changed is told again after so long; None never.
    """

    every_ns: int | None
    refresh_ns: int | None


class Novelty:
    """Decides for one source which results are worth telling."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._told: tuple[str | None, State, str] | None = None
        self._told_ns = 0

    def is_due(self, result: LiveResult) -> bool:
        """Whether to tell `result`; says True only once for each."""
        said = (result.shown_label, result.state, result.model)
        if not (self._told is None or result.events or self._is_due(said, result.at_ns - self._told_ns)):
            return False
        self._told, self._told_ns = said, result.at_ns
        return True

    def is_told(self, result: LiveResult) -> bool:
        """Whether the last thing told says the same as `result`."""
        return self._told == (result.shown_label, result.state, result.model)

    def _is_due(self, said: tuple[str | None, State, str], since_ns: int) -> bool:
        assert self._told is not None
        if said[1] is not self._told[1]:
            return True
        if said != self._told:
            return self._pace.every_ns is not None and since_ns >= self._pace.every_ns
        return self._pace.refresh_ns is not None and since_ns >= self._pace.refresh_ns
