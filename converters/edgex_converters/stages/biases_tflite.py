"""Adds to the biases of an int8 TFLite file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from edgex_converters.stages.blame_tflite import layer_of

_INT32 = np.iinfo(np.int32)
_LAYERS = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)


def add(path: Path, corrections: Mapping[str, NDArray[np.float64]]) -> None:
    """Add to the int32 biases, in place.

    Args:
        path: The file.
        corrections: By layer: (out,), in the units of what leaves the layer.
    """
    model = flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) not in _LAYERS:
            continue
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:  # No bias.
            continue
        weight, result = graph.tensors[operator.inputs[1]], graph.tensors[operator.outputs[0]]
        correction = corrections.get(layer_of(weight.name.decode()) or result.name.decode())
        bias = graph.tensors[operator.inputs[2]]
        if correction is None or bias.type != schema.TensorType.INT32:
            continue
        buffer = model.buffers[bias.buffer]
        steps = np.round(correction / np.asarray(bias.quantization.scale, np.float64))
        codes = np.frombuffer(bytes(buffer.data), np.int32).astype(np.float64) + steps
        buffer.data = np.frombuffer(np.clip(codes, _INT32.min, _INT32.max).astype(np.int32).tobytes(), np.uint8)
    flatbuffer_utils.write_model(model, str(path))
