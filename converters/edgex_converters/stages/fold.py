"""Fold the input's scaling into the first convolution of an ONNX graph.

(pixel − mean) · 1/std followed by a convolution that pads nothing is one convolution on the bytes themselves: fewer
ops, and an int8 graph whose first scale is exactly 1, because its input already is 8-bit. LiteRT's converter does the
same of its own accord; the dynamo exporter folds only batch-norm.
"""

import numpy as np
import onnx
from onnx import numpy_helper


def fold_input_scaling(model: onnx.ModelProto) -> bool:
    """Rewrite ``Cast → Sub(constant) → Mul(constant) → Conv`` as ``Cast → Conv``, in place.

    Args:
        model: A graph whose weights are initializers.

    Returns:
        Whether the graph had that shape; a convolution that pads is left alone, since its zeros are not black pixels.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for cast in (node for node in graph.node if node.op_type == "Cast"):
        subtract = _only_consumer(graph, cast, "Sub", constants)
        multiply = _only_consumer(graph, subtract, "Mul", constants) if subtract else None
        convolve = _only_consumer(graph, multiply, "Conv", constants) if multiply else None
        if subtract and multiply and convolve and not _pads(convolve):
            _fold(graph, constants, (cast, subtract, multiply, convolve))
            return True
    return False


def _only_consumer(
    graph: onnx.GraphProto, node: onnx.NodeProto, op_type: str, constants: dict[str, onnx.TensorProto]
) -> onnx.NodeProto | None:
    consumers = [other for other in graph.node if node.output[0] in other.input]
    if len(consumers) != 1 or consumers[0].op_type != op_type or consumers[0].input[0] != node.output[0]:
        return None
    return consumers[0] if consumers[0].input[1] in constants else None


def _pads(convolve: onnx.NodeProto) -> bool:
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in convolve.attribute}
    return any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


def _fold(graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto], chain: tuple[onnx.NodeProto, ...]) -> None:
    cast, subtract, multiply, convolve = chain
    # float64: the sums below cancel (mean against weights), and are rounded once, at the end.
    mean = numpy_helper.to_array(constants[subtract.input[1]]).astype(np.float64).reshape(1, -1, 1, 1)
    scale = numpy_helper.to_array(constants[multiply.input[1]]).astype(np.float64).reshape(1, -1, 1, 1)
    weight = numpy_helper.to_array(constants[convolve.input[1]]).astype(np.float64) * scale
    bias = np.zeros(len(weight))
    if len(convolve.input) > 2:
        bias = numpy_helper.to_array(constants[convolve.input[2]]).astype(np.float64)
    bias = bias - (weight * mean).sum(axis=(1, 2, 3))
    names = (convolve.input[1] + "_scaled", convolve.name + "_bias_scaled")
    for name, value in zip(names, (weight, bias), strict=True):
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    del convolve.input[:]
    convolve.input.extend([cast.output[0], *names])
    graph.node.remove(subtract)
    graph.node.remove(multiply)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
