"""Learned ranges in an OpenVINO model that NNCF has quantised: quantisers get other limits, weights other codes.

NNCF takes no ranges from outside. Its places for quantisers stay; what it had measured per channel becomes one range
for the whole value, as the other formats have it. Its half range for weights is 63.5 codes wide, and its depthwise
weights have 8 bits: on neither do the trained levels stand.
"""

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as opset

from edgex_converters import learned
from edgex_converters.graph import Array, Graph, Quantiser
from edgex_converters.learned import Ranges
from edgex_converters.stages.blame_openvino import layer_of

_SAME_RANGE = ("Convert", "Reshape", "Transpose", "MaxPool", "Squeeze", "Unsqueeze")
_LAYERS = ("Convolution", "GroupConvolution", "MatMul")


def write(model: openvino.Model, graph: Graph, ranges: Ranges) -> None:
    """Give every activation's quantiser the range of the place that it cuts, and every layer its levels.

    What has no learned range stays as it is, and so does a layer that NNCF left in float.

    Args:
        model: Of NNCF, changed in place.
        graph: Of the fp32 file.
        ranges: By place.
    """
    wanted = learned.of_places(graph, ranges)
    places = {place.value: place.name for place in graph.places}
    # The image's quantiser stands before its transposition, which is the last of the place.
    places |= {place.ops[0]: place.name for place in graph.places if place.kind == "image"}
    weights = {place.name: place.weight for place in graph.places if place.weight is not None}
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "FakeQuantize":
            place = places.get(_source(node, places))
            if place in wanted:
                _set_range(node, wanted[place])
        elif kind in _LAYERS and layer_of(node) in weights:
            _set_weights(node, weights[layer_of(node)])


def _source(quantize: Any, places: dict[str, str]) -> str:
    """The name of the op whose value a quantiser cuts: the nearest before it that is a place's last."""
    node = quantize.input_value(0).get_node()
    while node.get_friendly_name() not in places and node.get_type_name() in _SAME_RANGE:
        node = node.input_value(0).get_node()
    name: str = node.get_friendly_name()
    return name


def _set_range(quantize: Any, cut: Quantiser) -> None:
    shape = [1] * len(quantize.get_output_partial_shape(0))
    for port, limit in zip((1, 2, 3, 4), (cut.low, cut.high) * 2, strict=True):
        _replace(quantize, port, np.full(shape, limit, np.float32))


def _set_weights(layer: Any, weight: Array) -> None:
    """Codes and steps in place of NNCF's: it keeps weights as ``Multiply(Convert(codes), steps)``."""
    scaled = layer.input_value(1).get_node()
    while scaled.get_type_name() == "Reshape":
        scaled = scaled.input_value(0).get_node()
    if scaled.get_type_name() != "Multiply":
        return
    convert = scaled.input_value(0).get_node()
    stored = convert.input_value(0).get_node().data
    steps = learned.weight_steps(weight)
    codes = np.round(weight / steps.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
    if layer.get_type_name() == "MatMul" and not layer.get_attributes()["transpose_b"]:
        codes = codes.T
    _replace(convert, 0, codes.reshape(stored.shape))
    _replace(scaled, 1, steps.reshape(scaled.input_value(1).get_node().data.shape))


def _replace(node: Any, port: int, values: NDArray[Any]) -> None:
    constant = opset.constant(np.ascontiguousarray(values))
    node.input(port).replace_source_output(constant.output(0))
