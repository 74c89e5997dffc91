"""The quantised weights of an OpenVINO IR, held to `saturation`'s rule."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from edgex_converters.stages.saturation import saturation_fault

# A depthwise convolution (GroupConvolution) adds its products in 32 bits: NNCF's OverflowFix leaves it alone as well.
_PRODUCTS = ("Convolution", "MatMul")
_BETWEEN = ("Reshape", "Multiply", "Subtract", "Convert")


def fault(path: Path) -> str | None:
    """Why the file would answer differently on another CPU, or None."""
    return saturation_fault(_weights(path))


def _weights(path: Path) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """From each product back through its dequantisation to the constant."""
    for node in openvino.Core().read_model(path).get_ops():
        if node.get_type_name() not in _PRODUCTS:
            continue
        source = node.input_value(1).get_node()
        while source.get_type_name() in _BETWEEN:
            source = source.input_value(0).get_node()
        if source.get_type_name() == "Constant" and source.get_element_type() == openvino.Type.i8:
            yield node.get_friendly_name(), source.data
