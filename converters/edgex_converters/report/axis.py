"""One axis of a plot: where a value lies in pixels, and which round values carry a mark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The data's `low`..`high` on the pixels `start`..`end`; `end` may be the smaller, as on a page's y axis.

    >>> Axis(low=0, high=10, start=300, end=100).at(5)
    200.0
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value; what lies outside of the range lies outside of the plot."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values within the range.

        >>> Axis(low=0.9, high=0.94, start=0, end=1).ticks()
        [0.9, 0.91, 0.92, 0.93, 0.94]
        >>> Axis(low=0.5, high=210, start=0, end=1, log=True).ticks()
        [1.0, 10.0, 100.0]
        """
        if self.log:
            for steps in ((1, 2, 5), (1,)):
                ladder = [step * 10.0**power for power in range(-4, 7) for step in steps]
                inside = [value for value in ladder if self.low <= value <= self.high]
                if 3 <= len(inside) <= most:
                    return inside
        return _even(self.low, self.high, most)


def widened(values: Sequence[float], *, least: float) -> tuple[float, float]:
    """The values' range with a margin at both ends, and never narrower than `least` on each side.

    >>> widened([1.0, 3.0], least=0.1)
    (0.7, 3.3)
    """
    margin = max(least, 0.15 * (max(values) - min(values)))
    return min(values) - margin, max(values) + margin


def _even(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    for step in (power, 2 * power, 2.5 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [round(index * step, 12) for index in range(first, last + 1)]
    raise AssertionError("20 times the least step leaves fewer than `most`")
