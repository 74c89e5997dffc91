"""Whether several sources' pictures are classified faster at once than one after the other: tried, not believed."""

from collections import deque

TRIALS = 7
"""Samples of each way that decide, and that are kept: a median of seven bears three that were disturbed."""
GAIN = 0.95
"""One call must cost less than this share of single ones: all of its pictures wait for the slowest."""
AGAIN_AFTER = 500
"""Decisions until the way that lost is tried anew: a board that gets hot changes its mind."""


class Batching:
    """Chooses for one engine, by what its calls have cost per picture."""

    def __init__(self) -> None:
        self._single: deque[float] = deque(maxlen=TRIALS)
        self._batch: deque[float] = deque(maxlen=TRIALS)
        self._decisions = 0

    def choose(self, ready: int) -> bool:
        """Whether to take all of `ready` pictures at once."""
        if ready < 2:
            return False
        self._decisions += 1
        if self._decisions % AGAIN_AFTER == 0:
            (self._single if self._is_faster() else self._batch).clear()
        if len(self._single) < TRIALS or len(self._batch) < TRIALS:
            return len(self._batch) < len(self._single)
        return self._is_faster()

    def add(self, pictures: int, picture_ms: float) -> None:
        """Count a call for so many pictures, at so many milliseconds each."""
        (self._batch if pictures > 1 else self._single).append(picture_ms)

    def _is_faster(self) -> bool:
        return bool(self._batch and self._single) and _median(self._batch) < GAIN * _median(self._single)


def _median(costs_ms: deque[float]) -> float:
    """The middle one, or the upper of two."""
    # Not `statistics`', which brings a megabyte of modules for exact fractions.
    return sorted(costs_ms)[len(costs_ms) // 2]
