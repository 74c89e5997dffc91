"""Reads an ONNX file, fp32 or QDQ, as a `Graph`, and shows every value of it as onnxruntime computes it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgex_converters.graph import Graph, Kind, Place, Quantiser, assemble
from edgex_runtime.errors import StageError

_KINDS: dict[str, Kind] = {
    "Conv": "conv",
    "Gemm": "linear",
    "Relu": "relu",
    "Add": "add",
    "MaxPool": "max_pool",
    "ReduceMean": "mean",
    "Transpose": "transpose",
    "DequantizeLinear": "quantise",
    # What changes no value; a QuantizeLinear is told by the DequantizeLinear behind it.
    "QuantizeLinear": "pass",
    "Cast": "pass",
    "Reshape": "pass",
    "Flatten": "pass",
    "Identity": "pass",
}


def read(path: Path) -> Graph:
    """Read a model.

    Raises:
        StageError: If an op of it is not known here.
    """
    graph = onnx.load(path).graph
    constants = _constants(graph)
    return assemble([_image(graph), *_ops(graph, constants)], graph.output[0].name)


def tap(path: Path, graph: Graph, *, threads: int | None) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """Open a model so that it gives every place's value, by the place's name.

    Args:
        path: The model.
        graph: Of `read`.
        threads: Of the engine.

    Returns:
        A function of (1, H, W, 3) images.
    """
    model = onnx.load(path)
    shown = {place.name: place.value for place in graph.places}
    declared = {value.name for value in (*model.graph.output, *model.graph.input)}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=value) for value in dict.fromkeys(shown.values()) if value not in declared
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0].name

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return dict(zip(shown, session.run(list(shown.values()), {image: images}), strict=True))

    return run


def _image(graph: onnx.GraphProto) -> Place:
    # NHWC as it comes; the graph's own transposition turns it.
    return Place(kind="image", inputs=(), value=graph.input[0].name, permutation=(0, 1, 2, 3), ops=("image",))


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Initializers, and what is dequantised from them."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = numpy_helper.to_array(_attributes(node)["value"])
        elif node.op_type == "DequantizeLinear" and node.input[0] in found:
            codes, scale, zero = (found[name] for name in node.input)
            shape = [1] * codes.ndim
            if scale.size > 1:
                shape[_attributes(node).get("axis", 1)] = scale.size
            centred = codes.astype(np.float32) - zero.astype(np.float32).reshape(shape if zero.size > 1 else ())
            found[node.output[0]] = centred * scale.reshape(shape if scale.size > 1 else ())
    return found


def _ops(graph: onnx.GraphProto, constants: dict[str, NDArray[Any]]) -> Iterator[Place]:
    first: dict[str, str] = {}  # Several DequantizeLinear of one QuantizeLinear are one value.
    for node in graph.node:
        if node.op_type == "Constant" or node.output[0] in constants:
            continue
        kind = _KINDS.get(node.op_type)
        if kind is None:
            raise StageError(f"blame: {node.name}: want one of {', '.join(_KINDS)}, found {node.op_type}")
        if kind == "quantise":
            twin = first.setdefault(node.input[0], node.output[0])
            if twin != node.output[0]:
                yield Place(kind="pass", inputs=(twin,), value=node.output[0], ops=(node.name,))
                continue
        yield _op(node, kind, constants)


def _op(node: onnx.NodeProto, kind: Kind, constants: dict[str, NDArray[Any]]) -> Place:
    values, attributes = tuple(name for name in node.input if name not in constants), _attributes(node)
    place: dict[str, Any] = {"kind": kind, "inputs": values, "value": node.output[0], "ops": (node.name,)}
    if kind in ("conv", "linear"):
        place["name"] = node.name
        place["weight"] = constants[node.input[1]].astype(np.float32)
        if kind == "linear" and not attributes.get("transB", 0):
            place["weight"] = place["weight"].T
        if len(node.input) > 2:
            place["bias"] = constants[node.input[2]].astype(np.float32)
    if kind in ("conv", "max_pool"):
        _require_plain(node, attributes)
        place["stride"] = tuple(attributes.get("strides", (1, 1)))
        place["pads"] = tuple(attributes.get("pads", (0, 0, 0, 0)))
        place["kernel"] = tuple(attributes["kernel_shape"])
        place["groups"] = attributes.get("group", 1)
        place["rounds_up"] = bool(attributes.get("ceil_mode", 0))
    if kind == "transpose":
        place["permutation"] = tuple(attributes["perm"])
    if kind == "quantise":
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        place["steps"] = (Quantiser.affine(float(scale), int(zero), zero.dtype),)
    return Place(**place)


def _require_plain(node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    if (
        any(dilation != 1 for dilation in attributes.get("dilations", ()))
        or attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    ):
        raise StageError(f"blame: {node.name}: dilations and auto_pad are not known here")


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
