"""A line over steps: what something cost or gained as a conversion went on; drawn by the macro of `curve.svg.j2`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgex_converters.report.axis import Axis, widened

_WIDTH, _HEIGHT = 340, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 24, 24, 40, 34


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One step, in pixels."""

    x: float
    y: float
    step: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A small plot with its points, and what it says in words for whoever does not see it."""

    title: str
    points: tuple[CurvePoint, ...]
    words: str
    width: int = _WIDTH
    height: int = _HEIGHT
    baseline: int = _HEIGHT - _BOTTOM


def curve(title: str, steps: Sequence[str], values: Sequence[float], text: Callable[[float], str]) -> Curve:
    """Draw one value over the steps; a page shows several beside each other, one a quantity.

    Args:
        title: What the values are.
        steps: What stands below each point, one or more.
        values: Of each step; the axis is cut to their range, and every point carries its value.
        text: Writes a value with its unit.

    >>> curve("size", ["int8", "+ block2"], [0.9, 1.1], lambda mb: f"{mb} MB").words
    'size: int8 0.9 MB, + block2 1.1 MB'
    """
    low, high = widened(values, least=max(map(abs, values)) * 1e-3 or 1.0)
    y_axis = Axis(low=low, high=high, start=_HEIGHT - _BOTTOM, end=_TOP)
    x_axis = Axis(low=-0.5, high=len(steps) - 0.5, start=_LEFT, end=_WIDTH - _RIGHT)
    points = tuple(
        CurvePoint(x=x_axis.at(index), y=y_axis.at(value), step=step, text=text(value))
        for index, (step, value) in enumerate(zip(steps, values, strict=True))
    )
    words = ", ".join(f"{point.step} {point.text}" for point in points)
    return Curve(title=title, points=points, words=f"{title}: {words}")
