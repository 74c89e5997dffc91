"""Where each artifact stands between speed and accuracy: the coordinates of the page's plot."""

import math
from typing import Any

WIDTH, HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 24, 44


def points(report: dict[str, Any]) -> dict[str, Any]:
    """Turn the artifacts into dots: x is ms an image (logarithmic), y is accuracy, the area is the file's size.

    Returns:
        The plot's size, its dots and its axes' ticks, in pixels; no dots where nothing was measured.
    """
    shown = [artifact for artifact in report["artifacts"] if artifact["metrics"] and artifact["ms"]]
    if not shown:
        return {"width": WIDTH, "height": HEIGHT, "dots": [], "x_ticks": [], "y_ticks": []}
    times = [math.log(artifact["ms"]) for artifact in shown]
    shares = [artifact["metrics"]["accuracy"] for artifact in shown] + [report["evaluation"]["reference_accuracy"]]
    x_range = min(times) - 0.15, max(times) + 0.35
    margin = max(0.01, 0.15 * (max(shares) - min(shares)))
    y_range = min(shares) - margin, min(1.0, max(shares)) + margin
    largest = max(artifact["bytes"] for artifact in shown)

    def x_of(value: float) -> float:
        share: float = (value - x_range[0]) / (x_range[1] - x_range[0])
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y_of(value: float) -> float:
        share: float = (value - y_range[0]) / (y_range[1] - y_range[0])
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    return {
        "width": WIDTH,
        "height": HEIGHT,
        "baseline": HEIGHT - _BOTTOM,
        "left": _LEFT,
        "reference_y": y_of(report["evaluation"]["reference_accuracy"]),
        "dots": [
            {
                "x": x_of(math.log(artifact["ms"])),
                "y": y_of(artifact["metrics"]["accuracy"]),
                "radius": 4 + 10 * math.sqrt(artifact["bytes"] / largest),
                "format": artifact["format"],
                "precision": artifact["precision"],
                "status": artifact["status"],
            }
            for artifact in shown
        ],
        "x_ticks": [(x_of(math.log(value)), f"{value:g}") for value in _time_ticks(x_range)],
        "y_ticks": [(y_of(value), f"{value:.1%}") for value in _even_ticks(*y_range)],
    }


def _time_ticks(log_range: tuple[float, float]) -> list[float]:
    low, high = (math.exp(value) for value in log_range)
    ladder = [step * 10.0**power for power in range(-3, 5) for step in (1, 2, 5)]
    return [value for value in ladder if low <= value <= high]


def _even_ticks(low: float, high: float, count: int = 5) -> list[float]:
    return [
        low + (high - low) * index / (count - 1)
        for index in range(count)
        if low + (high - low) * index / (count - 1) <= 1
    ]
