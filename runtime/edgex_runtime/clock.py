"""Time as a thing that can be handed in: the frame loop and its tests read the same clock."""

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock that can also wait."""

    def now_ns(self) -> int:
        """Nanoseconds since some fixed moment; never runs backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return when `seconds` (≥ 0) have passed."""
        ...


@dataclass(frozen=True)
class SystemClock:
    """The machine's own `CLOCK_MONOTONIC`, which is also what V4L2 stamps its frames with. All of them are equal."""

    def now_ns(self) -> int:
        """Nanoseconds since boot, suspends left out."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class FakeClock:
    """Time that moves only when it is told to."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """What `sleep` has added up to."""
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        """Move on by `seconds` at once."""
        self._now_ns += round(seconds * 1e9)
