"""Where each artifact stands between speed, accuracy and size: the coordinates of the page's plot."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edgex_converters.report.axis import Axis, widened

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 16, 44
_SMALLEST, _LARGEST = 4.0, 13.0
# Of the page's bold text of 12 px, generously: the reader's font decides.
_CHARACTER, _LINE = 7.4, 15.0

# Left, top, right, bottom.
_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A dot's name.

    Attributes:
        x: Of the text's left end, in pixels.
        y: Of its baseline.
        leader: Whether a line must tell whose name it is.
    """

    x: float
    y: float
    width: float
    leader: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """An artifact: x is ms an image (logarithmic), y is accuracy, the area is the file's size.

    `best` where no other artifact that passed is at least as fast, as accurate and as small, and better in one.
    """

    x: float
    y: float
    radius: float
    format: str
    name: str
    passed: bool
    best: bool
    label: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """The plot in pixels; no dots where nothing was measured."""

    width: int
    height: int
    left: int = _LEFT
    baseline: float = 0.0
    reference_y: float = 0.0
    dots: tuple[Dot, ...] = ()
    x_ticks: tuple[tuple[float, str], ...] = ()
    y_ticks: tuple[tuple[float, str], ...] = ()


def scatter(report: dict[str, Any], width: int, height: int) -> Scatter:
    """Turn the artifacts that were measured into dots whose names do not lie on each other."""
    shown = [artifact for artifact in report["artifacts"] if artifact["metrics"] and artifact["ms"]]
    if not shown:
        return Scatter(width=width, height=height)
    x_axis, y_axis = _axes(shown, report["evaluation"]["reference_accuracy"], width, height)
    spots = _spots(shown, x_axis, y_axis)
    names = [_name(artifact) for artifact in shown]
    reference_y = y_axis.at(report["evaluation"]["reference_accuracy"])
    line = _LEFT, reference_y - 1, width, reference_y + 1
    labels = place_labels(spots, names, width, height - _BOTTOM, line)
    dots = [
        Dot(
            x=x,
            y=y,
            radius=radius,
            format=artifact["format"],
            name=name,
            passed=artifact["status"] == "passed",
            best=_is_best(artifact, shown),
            label=label,
        )
        for artifact, (x, y, radius), name, label in zip(shown, spots, names, labels, strict=True)
    ]
    return Scatter(
        width=width,
        height=height,
        baseline=height - _BOTTOM,
        reference_y=reference_y,
        dots=tuple(sorted(dots, key=lambda dot: -dot.radius)),  # The small ones in front.
        x_ticks=tuple((x_axis.at(value), f"{value:g}") for value in x_axis.ticks()),
        y_ticks=tuple((y_axis.at(value), f"{100 * value:.4g} %") for value in y_axis.ticks() if value <= 1),
    )


def place_labels(
    spots: Sequence[tuple[float, float, float]], names: Sequence[str], right: float, bottom: float, line: _Box
) -> list[Label]:
    """Find each name the nearest place that touches no dot and no other name; where none is free, the emptiest.

    Args:
        spots: Each dot's x, y and radius.
        names: One a dot.
        right: Where the plot ends.
        bottom: Likewise.
        line: What else no name should lie on.
    """
    taken = [line, *((x - radius, y - radius, x + radius, y + radius) for x, y, radius in spots)]
    labels: list[Label] = []
    for spot, name in zip(spots, names, strict=True):
        best, best_cost = None, math.inf
        for label in _candidates(spot, len(name) * _CHARACTER):
            box = _box(label)
            outside = box[0] < _LEFT or box[1] < 0 or box[2] > right or box[3] > bottom
            cost = sum(_overlap(box, other) for other in taken) + (1e6 if outside else 0)
            if cost < best_cost:
                best, best_cost = label, cost
            if not cost:
                break
        assert best is not None, "there are candidates for every dot"
        labels.append(best)
        taken.append(_box(best))
    return labels


def _axes(shown: list[dict[str, Any]], reference: float, width: int, height: int) -> tuple[Axis, Axis]:
    times = widened([math.log(artifact["ms"]) for artifact in shown], least=0.15)
    low, high = widened([artifact["metrics"]["accuracy"] for artifact in shown] + [reference], least=0.01)
    return (
        Axis(low=math.exp(times[0]), high=math.exp(times[1]), start=_LEFT, end=width - _RIGHT, log=True),
        Axis(low=low, high=high, start=height - _BOTTOM, end=_TOP),
    )


def _spots(shown: list[dict[str, Any]], x_axis: Axis, y_axis: Axis) -> list[tuple[float, float, float]]:
    largest = max(artifact["bytes"] for artifact in shown)
    return [
        (
            x_axis.at(artifact["ms"]),
            y_axis.at(artifact["metrics"]["accuracy"]),
            _SMALLEST + (_LARGEST - _SMALLEST) * math.sqrt(artifact["bytes"] / largest),
        )
        for artifact in shown
    ]


def _is_best(artifact: dict[str, Any], shown: list[dict[str, Any]]) -> bool:
    def costs(one: dict[str, Any]) -> tuple[float, float, float]:
        return one["ms"], -one["metrics"]["accuracy"], one["bytes"]

    mine = costs(artifact)
    rivals = [costs(one) for one in shown if one["status"] == "passed" and one is not artifact]
    beaten = any(rival != mine and all(r <= m for r, m in zip(rival, mine, strict=True)) for rival in rivals)
    return artifact["status"] == "passed" and not beaten


def _name(artifact: dict[str, Any]) -> str:
    mark = "" if artifact["status"] == "passed" else " ✗"
    return f"{artifact['format']} {artifact['precision']}{mark}"


def _candidates(spot: tuple[float, float, float], width: float) -> Iterator[Label]:
    x, y, radius = spot
    beside, middle = radius + 5, 0.3 * _LINE
    yield Label(x=x + beside, y=y + middle, width=width, leader=False)
    yield Label(x=x - beside - width, y=y + middle, width=width, leader=False)
    for away in range(9):
        for up in (True, False):
            shift = radius + 4 + away * _LINE
            baseline = y - shift if up else y + shift + 0.75 * _LINE
            for left in (x - width / 2, x - 4, x + 4 - width, x + 14, x - 14 - width):
                yield Label(x=left, y=baseline, width=width, leader=away > 0 or not left <= x <= left + width)


def _box(label: Label) -> _Box:
    return label.x, label.y - 0.75 * _LINE, label.x + label.width, label.y + 0.25 * _LINE


def _overlap(a: _Box, b: _Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
