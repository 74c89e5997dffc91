"""Learned ranges as AI Edge Quantizer takes them: a least and a greatest value for each tensor by its name."""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from edgex_converters import learned
from edgex_converters.graph import Graph
from edgex_converters.learned import Ranges
from edgex_converters.stages.blame_tflite import layer_of

_SAME_VALUE = ("CAST", "RESHAPE", "TRANSPOSE")
_OPS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
# Of the tool's own 8 bits: its step is the largest weight over 127, so this much larger a largest gives our step.
_CODES = 127

# By tensor: "min" and "max".
Seen = dict[str, dict[str, Any]]


def put(source: Path, graph: Graph, ranges: Ranges, seen: Seen) -> Seen:
    """What calibration has seen, with what was learned in its place.

    Args:
        source: The fp32 file.
        graph: Of the same.
        ranges: By place.
        seen: By tensor; stays as it is.
    """
    model = flatbuffer_utils.read_model(str(source))
    tensors = model.subgraphs[0].tensors
    wanted = learned.of_places(graph, ranges)
    owners = {int(place.value.partition(" ")[0]): place.name for place in graph.places}
    found = dict(seen)
    for operator in model.subgraphs[0].operators:
        code = model.operatorCodes[operator.opcodeIndex]
        read, made = int(operator.inputs[0]), int(operator.outputs[0])
        if _OPS[max(code.builtinCode, code.deprecatedBuiltinCode)] in _SAME_VALUE and read in owners:
            owners.setdefault(made, owners[read])
        if len(operator.inputs) > 1:
            weight = tensors[operator.inputs[1]]
            name = layer_of(weight.name.decode()) or tensors[made].name.decode()
            found |= _weight(weight, graph, name)
    for index, place in owners.items():
        if place in wanted:
            limits = {"min": wanted[place].low, "max": wanted[place].high}
            found[tensors[index].name.decode()] = {end: np.reshape(limit, (1,)) for end, limit in limits.items()}
    return found


def _weight(tensor: Any, graph: Graph, name: str) -> Seen:
    """The range of a layer's weights, in the file's own layout; nothing where the tensor is none."""
    weight = next((place.weight for place in graph.places if place.name == name), None)
    if weight is None:
        return {}
    largest = _CODES * learned.weight_steps(weight)
    # (out, h, w, in), but (1, h, w, out) of a depthwise convolution.
    depthwise = len(tensor.shape) == 4 and tensor.shape[0] == 1 and tensor.shape[3] == len(weight)
    shape = [1] * len(tensor.shape)
    shape[3 if depthwise else 0] = len(weight)
    return {tensor.name.decode(): {"min": -largest.reshape(shape), "max": largest.reshape(shape)}}
