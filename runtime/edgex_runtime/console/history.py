"""What the page's plots show: the last minute of a source's frame age and rate, in half seconds."""

from collections import deque
from dataclasses import dataclass

PERIOD_NS = 500_000_000
KEEP = 120
RATE_PERIODS = 4
"""The rate is that of the last two seconds: over half a second a slow model's would jump between 0 and 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Half a second.

    Attributes:
        number: Counts up by one, from whenever the history began.
        age_ms: The oldest that a result told; None where there was none.
        fps: Classified frames a second.
    """

    number: int
    age_ms: float | None
    fps: float


class History:
    """Adds up results into points. Times are of one clock and do not run backwards."""

    def __init__(self, now_ns: int) -> None:
        self._points: deque[Point] = deque(maxlen=KEEP)
        self._counts: deque[int] = deque(maxlen=RATE_PERIODS)
        self._start_ns = now_ns
        self._number = 0
        self._age_ms: float | None = None
        self._count = 0

    def add(self, now_ns: int, *, age_ms: float | None, classified: bool) -> None:
        """Count one result."""
        self.advance(now_ns)
        self._count += classified
        if age_ms is not None:
            self._age_ms = age_ms if self._age_ms is None else max(age_ms, self._age_ms)

    def advance(self, now_ns: int) -> None:
        """Close the half seconds that have passed."""
        number = (now_ns - self._start_ns) // PERIOD_NS
        # After a long sleep only what is kept at all.
        self._number = max(self._number, number - KEEP)
        while self._number < number:
            self._counts.append(self._count)
            fps = sum(self._counts) / len(self._counts) * 1e9 / PERIOD_NS
            self._points.append(Point(number=self._number, age_ms=self._age_ms, fps=fps))
            self._number += 1
            self._age_ms, self._count = None, 0

    @property
    def fps(self) -> float:
        """Of the newest point."""
        return self._points[-1].fps if self._points else 0.0

    def after(self, number: int) -> tuple[Point, ...]:
        """The points that are newer than that one."""
        return tuple(point for point in self._points if point.number > number)
