"""The few figures that stand at the top of the page."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A figure, what it is of, and what it means beside others."""

    title: str
    figure: str
    note: str
    status: str = ""


def tiles(report: dict[str, Any]) -> list[Tile]:
    """The verdict, the network's accuracy, and of the artifacts that passed the fastest and the smallest."""
    artifacts = report["artifacts"]
    passed = [artifact for artifact in artifacts if artifact["status"] == "passed"]
    good = len(passed) == len(artifacts)
    found = [
        Tile(
            title="gates",
            figure=f"{'✓' if good else '✗'} {len(passed)} of {len(artifacts)}",
            note="artifacts passed",
            status="passed" if good else "failed",
        ),
        Tile(
            title="the network",
            figure=f"{100 * report['evaluation']['reference_accuracy']:.1f} %",
            note=f"right on {report['evaluation']['images']} photos",
        ),
    ]
    timed = [artifact for artifact in passed if artifact["ms"]]
    if timed:
        fastest = min(timed, key=lambda artifact: artifact["ms"])
        found.append(
            Tile(title="fastest", figure=f"{three_digits(fastest['ms'])} ms", note=_beside(fastest, artifacts, "ms"))
        )
    if passed:
        smallest = min(passed, key=lambda artifact: artifact["bytes"])
        figure = f"{three_digits(smallest['bytes'] / 1e6)} MB"
        found.append(Tile(title="smallest", figure=figure, note=_beside(smallest, artifacts, "bytes")))
    return found


def three_digits(value: float) -> str:
    """A size or a time, to three digits or two places.

    >>> [three_digits(value) for value in (0.619, 2.1, 98.93, 404.2)]
    ['0.62', '2.10', '98.9', '404']
    """
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def _beside(artifact: dict[str, Any], artifacts: list[dict[str, Any]], field: str) -> str:
    """The artifact's name, and how it compares with fp32 of the same format."""
    name = f"{artifact['format']} {artifact['precision']}"
    floats = [one for one in artifacts if one["format"] == artifact["format"] and one["precision"] == "fp32"]
    if not floats or floats[0] is artifact or not floats[0][field]:
        return name
    return f"{name}, {artifact[field] / floats[0][field]:.0%} of fp32's".replace("%", " %")
