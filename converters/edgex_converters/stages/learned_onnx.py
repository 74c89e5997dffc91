"""Learned ranges as onnxruntime's quantiser takes them: a scale and a zero point for each tensor by its name."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from edgex_converters import learned
from edgex_converters.graph import Graph, Quantiser
from edgex_converters.learned import Ranges

_SAME_VALUE = ("Cast", "Reshape", "Flatten", "Identity", "Transpose")

# Of one tensor: a table for all of it, or one for each channel.
Overrides = dict[str, list[dict[str, Any]]]


def options(source: Path, graph: Graph, ranges: Ranges) -> dict[str, Overrides]:
    """The quantiser's extra options.

    Args:
        source: The fp32 file.
        graph: Of the same.
        ranges: By place.
    """
    model = onnx.load(source).graph
    wanted = learned.of_places(graph, ranges)
    found: Overrides = {
        tensor: [{"scale": np.asarray(wanted[place].step, np.float32), "zero_point": _zero_point(wanted[place])}]
        for tensor, place in _owners(model, graph).items()
        if place in wanted
    }
    return {"TensorQuantOverrides": found | dict(_weights(model, graph))}


def _zero_point(cut: Quantiser) -> Any:
    return np.asarray(np.round(-cut.low / cut.step), np.uint8)


def _owners(model: onnx.GraphProto, graph: Graph) -> Mapping[str, str]:
    """By tensor, the place whose value it is, before its ReLU and behind what changes no value as well."""
    owners = {place.value: place.name for place in graph.places}
    for node in model.node:
        read, made = node.input[0], node.output[0]
        if node.op_type == "Relu" and made in owners and read not in owners:
            owners[read] = owners[made]
        elif node.op_type in _SAME_VALUE and read in owners:
            owners.setdefault(made, owners[read])
    return owners


def _weights(model: onnx.GraphProto, graph: Graph) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    layers = {place.name: place.weight for place in graph.places if place.weight is not None}
    for node in model.node:
        weight = layers.get(node.name)
        if weight is None:
            continue
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        axis = 1 if node.op_type == "Gemm" and not attributes.get("transB", 0) else 0
        steps = learned.weight_steps(weight)
        yield node.input[1], [{"axis": axis, "scale": step, "zero_point": np.int8(0)} for step in steps]
