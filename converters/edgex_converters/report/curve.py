"""A line over steps: what something cost or gained as a conversion went on; drawn by the macro of `curve.svg.j2`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgex_converters.report.axis import Axis, widened

_WIDTH, _HEIGHT = 340, 196
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 44, 48
# Of the page's text of 12 px: a letter, and a value with its unit.
_CHARACTER, _VALUE = 6.7, 54


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One step, in pixels; `text` and `step` are empty where there is no room for them."""

    x: float
    y: float
    step: str
    step_y: float
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
        steps: What stands below each point, one or more; on two lines in turn, and cut where that is too long.
        values: Of each step; the axis is cut to their range. Where many points are close, some carry their values, the
            last always; `Curve.words` has all.
        text: Writes a value with its unit.

    >>> curve("size", ["int8", "+ block2"], [0.9, 1.1], lambda mb: f"{mb} MB").words
    'size: int8 0.9 MB, + block2 1.1 MB'
    """
    low, high = widened(values, least=max(map(abs, values)) * 1e-3 or 1.0)
    y_axis = Axis(low=low, high=high, start=_HEIGHT - _BOTTOM, end=_TOP)
    x_axis = Axis(low=-0.5, high=len(steps) - 0.5, start=_LEFT, end=_WIDTH - _RIGHT)
    pitch = x_axis.at(1) - x_axis.at(0)
    every = math.ceil(_VALUE / pitch)
    told = [(len(steps) - 1 - index) % every == 0 for index in range(len(steps))]
    points = tuple(
        CurvePoint(
            x=x_axis.at(index),
            y=y_axis.at(value),
            # Its neighbours stand on the other line, and the border may be half a step away.
            step=_fitting(step, min(2 * pitch * every, 2 * min(x_axis.at(index), _WIDTH - x_axis.at(index))))
            if told[index]
            else "",
            step_y=_HEIGHT - _BOTTOM + (18 if sum(told[:index]) % 2 == 0 else 34),
            text=text(value) if told[index] else "",
        )
        for index, (step, value) in enumerate(zip(steps, values, strict=True))
    )
    words = ", ".join(f"{step} {text(value)}" for step, value in zip(steps, values, strict=True))
    return Curve(title=title, points=points, words=f"{title}: {words}")


def _fitting(step: str, width: float) -> str:
    most = int(width / _CHARACTER)
    return step if len(step) <= most else step[: most - 1] + "…"
