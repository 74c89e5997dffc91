"""The pipeline as a tree: the network at its root, each stage on a branch, the artifact that it makes at the end.

Two layouts of the same: from left to right for a screen, from top to bottom for a phone and for paper.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ROOT_WIDTH = 132
STAGE_WIDTH, STAGE_HEIGHT = 140, 38
CARD_WIDTH, CARD_HEIGHT = 156, 46
_ROW, _GAP_IN, _GAP_OUT, _EDGE = 62, 26, 16, 2
_PITCH = _GAP_IN + STAGE_WIDTH + _GAP_OUT + CARD_WIDTH

TALL_WIDTH = 358
TALL_CARD_HEIGHT = 46
_TALL_ROW, _INDENT = 54, 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One stage and what it makes.

    Attributes:
        x: Left edge of the artifact's card, in pixels.
        y: Its middle.
        edge: From what the stage starts from, an SVG path.
        stage: Its name.
        took: Its time, and whether that was in an earlier run.
        checked: The same of the comparison with the network.
        cached: Whether the stage was.
        checked_cached: Whether the comparison was.
        made: ``onnx int8``.
        status: ``passed``, ``failed`` or ``broken``.
        asked: Whether the user wanted the artifact, or only a later stage did.
    """

    x: float
    y: float
    edge: str
    stage: str
    took: str
    checked: str
    cached: bool
    checked_cached: bool
    made: str
    format: str
    status: str
    asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A drawing's size, where its root's middle is, its branches, and all of it in words."""

    width: float
    height: float
    root_y: float
    branches: tuple[Branch, ...]
    words: str


def wide(report: dict[str, Any]) -> Flow:
    """From left to right: a first branch goes straight on, each further one takes a row of its own."""
    placed = list(_rows(report["pipeline"]))
    middle = CARD_HEIGHT / 2 + _EDGE
    spots: dict[str | None, tuple[float, float]] = {None: (ROOT_WIDTH + _EDGE, middle)}
    branches = []
    for entry, depth, row in placed:
        start_x, start_y = spots[entry["from"]]
        y, stage_x = middle + row * _ROW, ROOT_WIDTH + _EDGE + depth * _PITCH + _GAP_IN
        card_x = stage_x + STAGE_WIDTH + _GAP_OUT
        spots[entry["to"]] = card_x + CARD_WIDTH, y
        branches.append(_branch(entry, card_x, y, _elbow(start_x, start_y, start_x + _GAP_IN / 2, stage_x, y)))
    return Flow(
        width=max((branch.x for branch in branches), default=0) + CARD_WIDTH + _EDGE,
        height=max((row for _, _, row in placed), default=0) * _ROW + CARD_HEIGHT + 2 * _EDGE,
        root_y=middle,
        branches=tuple(branches),
        words=_words(report),
    )


def tall(report: dict[str, Any]) -> Flow:
    """From top to bottom, a row each, indented by what it starts from."""
    middle = TALL_CARD_HEIGHT / 2 + _EDGE
    spots: dict[str | None, tuple[float, float]] = {None: (_EDGE, middle)}
    branches = []
    for row, (entry, depth, _) in enumerate(_rows(report["pipeline"]), 1):
        start_x, start_y = spots[entry["from"]]
        x, y = _EDGE + (depth + 1) * _INDENT, middle + row * _TALL_ROW
        spots[entry["to"]] = x, y
        edge = f"M{start_x + 10:g} {start_y + TALL_CARD_HEIGHT / 2:g}V{y - 5:g}q0 5 5 5H{x:g}"
        branches.append(_branch(entry, x, y, edge))
    return Flow(
        width=TALL_WIDTH,
        height=len(branches) * _TALL_ROW + TALL_CARD_HEIGHT + 2 * _EDGE,
        root_y=middle,
        branches=tuple(branches),
        words=_words(report),
    )


def _rows(pipeline: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Each entry with its depth and its row, depth first."""
    children: dict[str | None, list[dict[str, Any]]] = defaultdict(list)
    for entry in pipeline:
        children[entry["from"]].append(entry)
    row = 0

    def visit(name: str | None, depth: int) -> Iterator[tuple[dict[str, Any], int, int]]:
        nonlocal row
        for index, entry in enumerate(children[name]):
            row += index > 0
            yield entry, depth, row
            yield from visit(entry["to"], depth + 1)

    return visit(None, 0)


def _elbow(x: float, y: float, turn_x: float, to_x: float, to_y: float) -> str:
    if y == to_y:
        return f"M{x:g} {y:g}H{to_x:g}"
    return f"M{x:g} {y:g}H{turn_x - 6:g}q6 0 6 6V{to_y - 6:g}q0 6 6 6H{to_x:g}"


def _branch(entry: dict[str, Any], x: float, y: float, edge: str) -> Branch:
    steps = {step["name"]: step for step in entry["steps"]}
    made = next((step for step in entry["steps"] if step["name"] not in ("verify", "seal")), None)
    return Branch(
        x=x,
        y=y,
        edge=edge,
        stage=entry["stage"],
        took=_took(made),
        checked=_took(steps.get("verify")),
        cached=made is not None and made["cached"],
        checked_cached="verify" in steps and steps["verify"]["cached"],
        made=entry["to"],
        format=entry["format"],
        status=entry["status"],
        asked=entry["asked"],
    )


def duration(seconds: float) -> str:
    """As short as a card has room for.

    >>> duration(0.34), duration(75.2), duration(765.0)
    ('0.3 s', '75 s', '13 min')
    """
    if seconds >= 600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.{0 if seconds >= 10 else 1}f} s"


def _took(step: dict[str, Any] | None) -> str:
    if step is None:
        return ""
    return f"cached, {duration(step['seconds'])}" if step["cached"] else duration(step["seconds"])


def _words(report: dict[str, Any]) -> str:
    told = []
    for entry in report["pipeline"]:
        status = {"passed": "passed", "failed": "failed", "broken": "could not be made"}[entry["status"]]
        steps = ", ".join(
            f"{step['name']} {'from the cache' if step['cached'] else duration(step['seconds'])}"
            for step in entry["steps"]
        )
        told.append(f"{entry['stage']} makes {entry['to']} from {entry['from'] or 'the network'}: {status} ({steps})")
    return f"The pipeline of {report['name']}. " + ". ".join(told).replace(" ()", "") + "."
