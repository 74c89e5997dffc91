"""One layer quantised and all others in float, as a real ONNX file: what `blame`'s simulation is held against.

Built from the two files alone, without the reading that the simulation stands on.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_LAYERS = ("Conv", "Gemm")


def layers(path: Path) -> tuple[str, ...]:
    """The nodes with weights, in order."""
    return tuple(node.name for node in onnx.load(path).graph.node if node.op_type in _LAYERS)


def logits(fp32: Path, int8: Path, layer: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What onnxruntime makes of `images` when one layer of `fp32` is quantised as in `int8`.

    Args:
        fp32: As exported.
        int8: Of QDQ form, made from it.
        layer: Name of a node with weights.
        images: (N, H, W, 3).

    Returns:
        (N, classes).
    """
    model = onnx.load(fp32)
    _quantise_alone(model.graph, onnx.load(int8).graph, layer)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # It warns of the initializers that nothing reads any more.
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: images[index : index + 1]})[0] for index in range(len(images))])


def _quantise_alone(graph: onnx.GraphProto, donor: onnx.GraphProto, layer: str) -> None:
    node, twin = _named(graph, layer), _named(donor, layer)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in donor.initializer}
    for index in range(1, len(node.input)):
        graph.initializer.append(
            numpy_helper.from_array(_dequantised(donor, twin.input[index], constants), f"alone{index}")
        )
        node.input[index] = f"alone{index}"
    maker, quantise = _after_relu(graph, node), _reader(donor, _after_relu(donor, twin).output[0], "QuantizeLinear")
    if quantise is None:  # The logits leave in float.
        return
    for part, name in zip(("scale", "zero"), quantise.input[1:], strict=True):
        graph.initializer.append(numpy_helper.from_array(constants[name], f"alone_{part}"))
    value = maker.output[0]
    # The rounded value takes the name, so that all who read it, and the graph's output, get it.
    maker.output[0] = "alone_exact"
    place = list(graph.node).index(maker) + 1
    graph.node.insert(
        place, helper.make_node("DequantizeLinear", ["alone_codes", "alone_scale", "alone_zero"], [value])
    )
    graph.node.insert(
        place, helper.make_node("QuantizeLinear", ["alone_exact", "alone_scale", "alone_zero"], ["alone_codes"])
    )


def _dequantised(donor: onnx.GraphProto, value: str, constants: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    maker = next(node for node in donor.node if value in node.output)
    codes, scale, zero = (constants[name].astype(np.float32) for name in maker.input)
    # Per channel the quantiser writes one scale for each row.
    shape = (-1, *[1] * (codes.ndim - 1)) if scale.size > 1 else ()
    result: NDArray[np.float32] = (codes - zero.reshape(shape)) * scale.reshape(shape)
    return result


def _named(graph: onnx.GraphProto, name: str) -> onnx.NodeProto:
    return next(node for node in graph.node if node.name == name)


def _reader(graph: onnx.GraphProto, value: str, op_type: str) -> onnx.NodeProto | None:
    readers = [node for node in graph.node if value in node.input]
    return readers[0] if len(readers) == 1 and readers[0].op_type == op_type else None


def _after_relu(graph: onnx.GraphProto, node: onnx.NodeProto) -> onnx.NodeProto:
    """The ReLU that alone reads it, or itself."""
    return _reader(graph, node.output[0], "Relu") or node
