"""The quantised weights of an ONNX file of QDQ form, held to `saturation`'s rule."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgex_converters.stages.saturation import saturation_fault

_PRODUCTS = ("Conv", "Gemm", "MatMul")


def fault(path: Path) -> str | None:
    """Why the file would answer differently on another CPU, or None."""
    return saturation_fault(_weights(path))


def _weights(path: Path) -> Iterator[tuple[str, NDArray[np.generic]]]:
    graph = onnx.load(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in graph.node:
        maker = makers.get(node.input[1]) if node.op_type in _PRODUCTS else None
        if maker is not None and maker.input[0] in constants:
            yield node.name, numpy_helper.to_array(constants[maker.input[0]])
