"""What is taken for what: the network's confusion matrix, and beside it each artifact's with what has changed."""

from dataclasses import dataclass
from typing import Any

# Wider matrices show no pattern at a page's width; of those the greatest changes are listed.
MOST_CLASSES = 20
_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A count; `change` against the network; `tint`, its share of that class; `right` on the diagonal."""

    count: int
    change: int
    tint: float
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Rows are the true classes, columns the answers."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One cell of a large matrix that is another one than the network's."""

    label: str
    answer: str
    before: int
    after: int


def matrices(report: dict[str, Any]) -> list[Matrix]:
    """The network's first, then that of each artifact which is int8 or disagrees; none of too many classes."""
    if len(report["labels"]) > MOST_CLASSES:
        return []
    reference = report["reference_confusion"]
    return [
        _matrix("the network, fp32", reference, reference),
        *(_matrix(name, confusion, reference) for name, confusion in _shown(report)),
    ]


def greatest_changes(report: dict[str, Any]) -> list[tuple[str, list[Change]]]:
    """For each such artifact the cells that changed most; none where `matrices` shows them all."""
    if len(report["labels"]) <= MOST_CLASSES:
        return []
    return [(name, _changes(report, confusion)) for name, confusion in _shown(report)]


def _shown(report: dict[str, Any]) -> list[tuple[str, list[list[int]]]]:
    return [
        (f"{artifact['format']} {artifact['precision']}", artifact["confusion"])
        for artifact in report["artifacts"]
        if "confusion" in artifact and (artifact["precision"] == "int8" or artifact["disagreements"])
    ]


def _matrix(title: str, counts: list[list[int]], reference: list[list[int]]) -> Matrix:
    rows = tuple(
        tuple(
            Cell(
                count=count,
                change=count - reference[actual][answer],
                tint=count / max(1, sum(row)),
                right=actual == answer,
            )
            for answer, count in enumerate(row)
        )
        for actual, row in enumerate(counts)
    )
    # A photo that is answered differently leaves one cell for another.
    return Matrix(title=title, rows=rows, changed=sum(max(0, cell.change) for row in rows for cell in row))


def _changes(report: dict[str, Any], counts: list[list[int]]) -> list[Change]:
    labels, reference = report["labels"], report["reference_confusion"]
    changes = [
        Change(label=labels[actual], answer=labels[answer], before=reference[actual][answer], after=count)
        for actual, row in enumerate(counts)
        for answer, count in enumerate(row)
        if count != reference[actual][answer]
    ]
    return sorted(changes, key=lambda change: -abs(change.after - change.before))[:_LISTED]
