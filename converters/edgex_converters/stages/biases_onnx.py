"""Adds to the biases of a QDQ ONNX file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

_INT32 = np.iinfo(np.int32)


def add(path: Path, corrections: Mapping[str, NDArray[np.float64]]) -> None:
    """Add to the int32 biases, in place.

    Args:
        path: The file.
        corrections: By layer: (out,), in the units of what leaves the layer. A layer whose bias is float gets it too.
    """
    model = onnx.load(path)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in model.graph.node:
        if node.name not in corrections or len(node.input) < 3:
            continue
        correction = corrections[node.name]
        maker = makers.get(node.input[2])
        if maker is None:
            tensor = stored[node.input[2]]
            value = (numpy_helper.to_array(tensor) + correction).astype(np.float32)
        else:
            tensor = stored[maker.input[0]]
            steps = np.round(correction / numpy_helper.to_array(stored[maker.input[1]]).astype(np.float64))
            codes = numpy_helper.to_array(tensor).astype(np.float64) + steps
            value = np.clip(codes, _INT32.min, _INT32.max).astype(np.int32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, path)
