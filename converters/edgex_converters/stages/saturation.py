"""Says whether an int8 file means the same on every CPU, from its weights alone: the CPU at hand may hide it.

x86 CPUs without VNNI add two u8·s8 products in 16 bits, saturating (vpmaddubsw): 2 · 255 · 64 = 32,640 fits,
2 · 255 · 65 = 33,150 does not. onnxruntime and OpenVINO both compute so there; a file whose weights need the eighth bit
then answers differently than on ARM or on a newer x86. Both vendors say so: onnxruntime's page on quantization ("When
and why do I need to try U8U8?"), NNCF's `OverflowFix`.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

LARGEST_SAFE_WEIGHT = 64


def saturation_fault(layers: Iterable[tuple[str, NDArray[np.generic]]]) -> str | None:
    """Look for weights that saturate.

    Args:
        layers: (name, quantised weights) of each layer that multiplies unsigned activations.

    Returns:
        What is wrong, or None.
    """
    risky = [
        name
        for name, weight in layers
        if weight.dtype == np.int8 and np.abs(weight.astype(np.int16)).max(initial=0) > LARGEST_SAFE_WEIGHT
    ]
    if not risky:
        return None
    return (
        f"8-bit weights in {len(risky)} layers ({risky[0]} first) saturate on x86 CPUs without VNNI, "
        "so that the file answers differently there: quantise with 7-bit weights"
    )
