"""Activation ranges that quantisation-aware training has learned: their grid, and whether a file really has them.

They are kept by the names of `graph` (``block5_sepconv2_pointwise``), which are the same in every format, so that what
was learned once stands in all of them. The weights need no range of their own: training leaves each output channel on
`WEIGHT_CODES` steps either way of zero, of which the largest is taken, so that the channel itself says its step.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgex_converters.graph import Array, Graph, Place, Quantiser
from edgex_runtime.errors import StageError

# (least, greatest) by place; both stand on the grid that `quantiser` makes of them.
Ranges = Mapping[str, tuple[float, float]]

STEPS = 255
# 7 bits: with 8 the products overflow on x86 CPUs without VNNI (see `quantize_onnx`). NNCF's half range has 63 codes
# either way and onnxruntime's 64: these are the ones that both have.
WEIGHT_CODES = 63
# What a place's own range would add to its input's: nothing.
_KEEPS_RANGE = ("max_pool",)
# Of a step: codes are whole numbers, so a weight on another grid is off by far more.
_SAME_WEIGHT = 0.02


def quantiser(low: float, high: float) -> Quantiser:
    """The 256 equal levels of a range, moved by less than a step so that 0 is one of them.

    >>> found = quantiser(-1.0, 2.0)
    >>> round(float(found.low / found.step), 3)
    -85.0
    """
    scale = (np.float32(high) - np.float32(low)) / np.float32(STEPS)
    return Quantiser.affine(float(scale), zero_point(low, high), np.dtype(np.uint8))


def zero_point(low: float, high: float) -> int:
    """The code of 0, of 0..255."""
    return int(np.clip(np.round(-low * STEPS / (high - low)), 0, STEPS))


def of_places(graph: Graph, ranges: Ranges) -> dict[str, Quantiser]:
    """By place, what its value is cut to; pools keep what they pick from."""
    found: dict[str, Quantiser] = {}
    for place in graph.places:
        if place.name in ranges:
            found[place.name] = quantiser(*ranges[place.name])
        elif place.kind in _KEEPS_RANGE and place.inputs[0] in found:
            found[place.name] = found[place.inputs[0]]
    return found


def weight_steps(weight: Array) -> NDArray[np.float32]:
    """(out,): the step of each output channel of weights in torch's layout."""
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    # A channel of zeros stays zero on any grid.
    steps: NDArray[np.float32] = np.where(largest > 0, largest / WEIGHT_CODES, 1.0).astype(np.float32)
    return steps


def require_seven_bits(weight_bits: int) -> None:
    """Refuse other levels than the weights were trained on.

    Raises:
        StageError: If so.
    """
    if weight_bits != 7:
        raise StageError(
            f"want --weight-bits 7, on whose levels the checkpoint's weights were trained, got {weight_bits}: leave it "
            "out, or have the ranges calibrated anew with --range mean"
        )


def require_in_file(artifact: Graph, reference: Graph, ranges: Ranges) -> str:
    """Hold a finished int8 file to what was learned.

    Args:
        artifact: Of the int8 file.
        reference: Of the fp32 file that it was made from.
        ranges: What was learned.

    Returns:
        What stands where, for the report.

    Raises:
        StageError: If a place has another range than it learned, by more than a step, or weights on another grid.
    """
    learned = of_places(reference, ranges)
    found, calibrated = set(), set()
    for name, cut in _cuts(artifact):
        if name not in learned:
            calibrated.add(name)
            continue
        found.add(name)
        _require_range(name, learned[name], cut)
    for place in artifact.places:
        if place.is_quantised:
            _require_weights(place, reference[place.name])
    said = f"{len(found & set(ranges))} of {len(ranges)} learned ranges stand in the file"
    if calibrated:
        said += f"; calibrated, since none was learned: {', '.join(sorted(calibrated))}"
    absent = sorted(set(ranges) - found)
    return said + (f"; not quantised in this file: {', '.join(absent)}" if absent else "")


def _cuts(graph: Graph) -> list[tuple[str, Quantiser]]:
    """Every range in a file, with the place whose value it cuts: on its way out, or on that to one reader."""
    leaving = [(place.name, place.output_range) for place in graph.places]
    edges = [pair for place in graph.places for pair in zip(place.inputs, place.cuts, strict=False)]
    return [(name, cut) for name, cut in (*leaving, *edges) if cut is not None]


def _require_range(name: str, wanted: Quantiser, found: Quantiser) -> None:
    off = max(float(np.abs(found.low - wanted.low).max()), float(np.abs(found.high - wanted.high).max()))
    if off > float(wanted.step):
        raise StageError(
            f"{name}: want the learned range {float(wanted.low):.4g} to {float(wanted.high):.4g} in the file, found "
            f"{float(found.low.min()):.4g} to {float(found.high.max()):.4g}"
        )


def _require_weights(place: Place, reference: Place) -> None:
    if place.weight is None or reference.weight is None:
        return
    steps = weight_steps(reference.weight).reshape(-1, *[1] * (reference.weight.ndim - 1))
    off = float(np.abs((place.weight - reference.weight) / steps).max())
    if off > _SAME_WEIGHT:
        raise StageError(
            f"{place.name}: want the weights on the levels that they were trained on, found them {off:.2g} of a level "
            "off: the checkpoint's weights are not those that its ranges were learned with"
        )
