"""Reads an OpenVINO IR, fp32 or quantised by NNCF, as a `Graph`, and shows its values as OpenVINO computes them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from edgex_converters.graph import Graph, Kind, Place, Quantiser, assemble
from edgex_runtime.errors import StageError

_KINDS: dict[str, Kind] = {
    "Parameter": "image",
    "Convolution": "conv",
    "GroupConvolution": "conv",
    "MatMul": "linear",
    "Relu": "relu",
    "Add": "add",
    "MaxPool": "max_pool",
    "ReduceMean": "mean",
    "Transpose": "transpose",
    "FakeQuantize": "quantise",
    "Convert": "pass",
    "Reshape": "pass",
    "Result": "pass",
}
# The frontend splits a convolution from its bias: the layer's name stays with the sum.
_WITHOUT_BIAS = "/WithoutBiases"


def read(path: Path) -> Graph:
    """Read a model.

    Raises:
        StageError: If an op of it is not known here.
    """
    model = openvino.Core().read_model(path)
    return assemble(list(_ops(model)), model.get_results()[0].get_friendly_name())


def tap(path: Path, graph: Graph, *, threads: int | None) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """Open a model so that it gives every place's value; see `blame_onnx.tap`."""
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, *(dimension.get_length() for dimension in list(model.input(0).get_partial_shape())[1:])])
    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
    model.add_outputs([nodes[place.value].output(0) for place in graph.places])
    shown = {result.input_value(0).get_node().get_friendly_name(): i for i, result in enumerate(model.get_results())}
    # Half precision, which some CPUs would choose of themselves, is not what the file says.
    config = {"INFERENCE_PRECISION_HINT": "f32", **({"INFERENCE_NUM_THREADS": threads} if threads else {})}
    request = core.compile_model(model, "CPU", config).create_infer_request()

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        results = request.infer([images])
        return {place.name: np.array(results[shown[place.value]]) for place in graph.places}

    return run


def _ops(model: Any) -> Iterator[Place]:
    for node in model.get_ordered_ops():
        if node.get_output_size() and _constant(node.output(0)) is not None:
            continue
        kind = _KINDS.get(node.get_type_name())
        if kind is None:
            name = node.get_friendly_name()
            raise StageError(f"blame: {name}: want one of {', '.join(_KINDS)}, found {node.get_type_name()}")
        yield _op(node, kind)


def _op(node: Any, kind: Kind) -> Place:
    name = node.get_friendly_name()
    values = tuple(
        port.get_source_output().get_node().get_friendly_name()
        for port in node.inputs()
        if _constant(port.get_source_output()) is None
    )
    place: dict[str, Any] = {"kind": kind, "inputs": values, "value": name, "ops": (name,)}
    attributes = node.get_attributes()
    if kind == "image":
        place["permutation"] = (0, 1, 2, 3)
    if kind in ("conv", "linear"):
        place["name"] = layer_of(node)
        place |= _weights(node, attributes)
    if kind in ("conv", "max_pool"):
        _require_plain(name, attributes)
        place["stride"] = tuple(attributes["strides"])
        place["pads"] = (*attributes["pads_begin"], *attributes["pads_end"])
        place["kernel"] = tuple(attributes.get("kernel", (1, 1)))
        place["rounds_up"] = attributes.get("rounding_type", "floor") == "ceil"
    if kind == "add" and len(values) == 1:
        place["kind"] = "bias"
        place["bias"] = _required(node, 1).astype(np.float32).reshape(-1)
    if kind == "transpose":
        place["permutation"] = tuple(map(int, _required(node, 1)))
    if kind == "quantise":
        place["steps"] = (_quantiser(node, attributes),)
    return Place(**place)


def layer_of(node: Any) -> str:
    """The layer that a convolution or a matrix product belongs to."""
    name: str = node.get_friendly_name()
    return name.removesuffix(_WITHOUT_BIAS)


def _weights(node: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    weight = _required(node, 1).astype(np.float32)
    if node.get_type_name() == "GroupConvolution":  # (groups, out / groups, in / groups, h, w)
        return {"weight": weight.reshape(-1, *weight.shape[2:]), "groups": weight.shape[0]}
    if node.get_type_name() == "MatMul" and not attributes["transpose_b"]:
        weight = weight.T
    return {"weight": weight}


def _quantiser(node: Any, attributes: dict[str, Any]) -> Quantiser:
    low, high, out_low, out_high = (_required(node, index).astype(np.float32) for index in range(1, 5))
    if not (np.array_equal(low, out_low) and np.array_equal(high, out_high)):
        raise StageError(f"blame: {node.get_friendly_name()}: a range that is mapped to another is not known here")
    shape = low.shape if low.size > 1 else ()
    return Quantiser(low=low.reshape(shape), high=high.reshape(shape), steps=attributes["levels"] - 1)


def _constant(output: Any) -> NDArray[Any] | None:
    """The value of what is computed from constants alone, as weights that are stored as int8 are; None otherwise."""
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        data: NDArray[Any] = node.data
        return data
    if kind not in ("Convert", "Reshape", "Multiply", "Subtract"):
        return None
    values = [_constant(node.input_value(index)) for index in range(node.get_input_size())]
    if values[0] is None or values[-1] is None:
        return None
    if kind == "Convert":
        return values[0].astype(np.float32)
    if kind == "Reshape":
        return values[0].reshape(tuple(node.get_output_shape(0)))
    result: NDArray[Any] = values[0] * values[1] if kind == "Multiply" else values[0] - values[1]
    return result


def _required(node: Any, index: int) -> NDArray[Any]:
    value = _constant(node.input_value(index))
    if value is None:
        raise StageError(f"blame: {node.get_friendly_name()}: want a constant as input {index}, found a value")
    return value


def _require_plain(name: str, attributes: dict[str, Any]) -> None:
    if any(dilation != 1 for dilation in attributes["dilations"]) or attributes["auto_pad"] != "explicit":
        raise StageError(f"blame: {name}: dilations and auto_pad are not known here")
