"""What each step of a repair cost and gained: accuracy, size and time as layers go back to float."""

from typing import Any

from edgex_converters.report.curve import Curve, curve
from edgex_converters.report.headline import three_digits


def repair_curves(report: dict[str, Any]) -> list[tuple[dict[str, Any], tuple[Curve, ...]]]:
    """Each artifact that a repair was tried on, with its three curves."""
    return [(artifact, _curves(artifact["repairs"])) for artifact in report["artifacts"] if artifact["repairs"]]


def _curves(repairs: list[dict[str, Any]]) -> tuple[Curve, ...]:
    steps = [f"{len(repair['layers'])} in float" if repair["layers"] else "int8" for repair in repairs]
    return (
        curve("top-1", steps, [repair["accuracy"] for repair in repairs], _percent),
        curve("agrees with the network", steps, [repair["agreement"] for repair in repairs], _percent),
        curve("size", steps, [repair["bytes"] for repair in repairs], lambda size: f"{three_digits(size / 1e6)} MB"),
        curve("time an image", steps, [repair["ms"] for repair in repairs], lambda ms: f"{three_digits(ms)} ms"),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
