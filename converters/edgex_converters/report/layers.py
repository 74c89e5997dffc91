"""Which layers an artifact's error comes from: the report's `layers` field, and the bars that the page draws of it."""

import math
from typing import Any

from edgex_converters.blame import Blame, LayerError
from edgex_converters.result import Outcome

WIDTH, ROW = 358, 31
_BARS = 20
# That fit on a line of the page's 12 px text.
_CHARACTERS = 52


def layers_of(outcome: Outcome) -> dict[str, Any] | None:
    """As what `json.dumps` takes, the greatest share first; None where nobody looked.

    What is infinite (the SQNR of what does not differ) is null.
    """
    if outcome.blame_fault:
        return {"fault": outcome.blame_fault, "layers": []}
    return None if outcome.blame is None else to_json(outcome.blame)


def to_json(blame: Blame) -> dict[str, Any]:
    """A blame as what `json.dumps` takes."""
    return {
        "images": blame.images,
        "share_images": blame.share_images,
        "logits_sqnr_db": finite(blame.logits_sqnr_db),
        "unexplained": finite(blame.unexplained),
        "sum_of_parts": finite(blame.sum_of_parts),
        "layers": [_layer(layer) for layer in blame.layers],
    }


def bars(report: dict[str, Any]) -> list[dict[str, Any]]:
    """For each int8 artifact the worst layers as bars: their length is the share, the line its standard error."""
    return [
        _plot(artifact)
        for artifact in report["artifacts"]
        if artifact["precision"] == "int8" and artifact["layers"] and artifact["layers"]["layers"]
    ]


def finite(value: float) -> float | None:
    """The value, or None for what JSON has no word for."""
    return value if math.isfinite(value) else None


def _layer(layer: LayerError) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "share": finite(layer.share),
        "share_error": finite(layer.share_error),
        "sqnr_db": finite(layer.sqnr_db),
        "own_sqnr_db": finite(layer.own_sqnr_db),
        "cosine": finite(layer.cosine),
        "clipped": finite(layer.clipped),
        "weights": None if layer.weights is None else finite(layer.weights),
        "ops": list(layer.ops),
    }


def _plot(artifact: dict[str, Any]) -> dict[str, Any]:
    found = artifact["layers"]
    shown = [layer for layer in found["layers"] if layer["share"]][:_BARS]
    greatest = max((layer["share"] + (layer["share_error"] or 0.0) for layer in shown), default=1.0)

    def length(share: float) -> float:
        return WIDTH * min(share, greatest) / greatest

    return {
        "format": artifact["format"],
        "status": artifact["status"],
        "images": found["images"],
        "share_images": found["share_images"],
        "unexplained": found["unexplained"],
        "sum_of_parts": found["sum_of_parts"],
        "width": WIDTH,
        "row": ROW,
        "height": ROW * len(shown) + 8,
        "bars": [
            {
                "name": layer["name"],
                "shown": _ending(layer["name"], _CHARACTERS - len(_text(layer))),
                "y": ROW * index,
                "length": length(layer["share"]),
                "from": length(max(0.0, layer["share"] - (layer["share_error"] or 0.0))),
                "to": length(layer["share"] + (layer["share_error"] or 0.0)),
                "text": _text(layer),
            }
            for index, layer in enumerate(shown)
        ],
    }


def _ending(name: str, most: int) -> str:
    """The end of a name: layers of a long path differ there."""
    return name if len(name) <= most else "…" + name[len(name) - most + 1 :]


def _text(layer: dict[str, Any]) -> str:
    clipped = f", {layer['clipped']:.1%} clipped" if layer["clipped"] >= 0.001 else ""
    return f"{layer['share']:.1%}{clipped}".replace("%", " %")
