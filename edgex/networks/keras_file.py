"""Keras's HDF5 files, whichever Keras wrote them, as a flat table of named tensors."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgex_runtime.errors import MissingExtraError, WeightsError

try:
    import h5py
except ModuleNotFoundError as error:
    if error.name != "h5py":
        raise
    raise MissingExtraError("Keras files need h5py, which is not installed: pip install 'edgex[train]'") from error

# Keras 1's words for the tensors of a layer; its `running_std` holds the variance all the same.
_KERAS_1_TENSORS = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}
_OPTIMIZER = ("optimizer_weights/", "optimizer/")
_KERAS_3 = "layers/"


def read_hdf5(source: Path | io.BytesIO, *, where: str, largest_bytes: int) -> dict[str, Tensor]:
    """Every weight in a file that Keras saved.

    Args:
        source: A legacy `.h5` (weights or whole model) or a Keras 3 `.weights.h5`.
        where: What the source is, for the messages.
        largest_bytes: A file that claims more than this is refused before anything is read.

    Returns:
        ``block5_sepconv2/depthwise_kernel`` → tensor; for Keras 3's files ``layers/separable_conv2d_7/vars/0``.

    Raises:
        WeightsError: If the file is broken, too large, or holds something that is no tensor of numbers.
    """
    try:
        with h5py.File(source, "r") as file:
            return _read_datasets(file, where, largest_bytes)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{where}: cannot be read as HDF5: {error}; is the file complete?") from error


def _read_datasets(file: Any, where: str, largest_bytes: int) -> dict[str, Tensor]:
    datasets: dict[str, Any] = {}

    def collect(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not path.startswith(_OPTIMIZER):
            name = path if path.startswith(_KERAS_3) else _legacy_name(path)
            if name in datasets:
                raise WeightsError(f"{where}: {name} stands twice, as {datasets[name].name} and /{path}")
            datasets[name] = item

    file.visititems(collect)
    total = 0
    for name, item in datasets.items():
        if item.shape is None or item.dtype.kind not in "fiu" or item.dtype.itemsize > 8:
            raise WeightsError(f"{where}: {name}: want a tensor of numbers, got {item.dtype}, shape {item.shape}")
        total += math.prod(item.shape) * item.dtype.itemsize
    if total > largest_bytes:
        raise WeightsError(f"{where}: want at most {largest_bytes} bytes of weights, the file claims {total}")
    # torch takes the machine's own byte order only.
    return {
        name: torch.from_numpy(np.array(item[()], dtype=item.dtype.newbyteorder("=")))
        for name, item in datasets.items()
    }


def _legacy_name(path: str) -> str:
    """``model_weights/block1_conv1/block1_conv1/kernel:0`` → ``block1_conv1/kernel``."""
    parts = path.split("/")
    layer, tensor = (parts[-2], parts[-1]) if len(parts) > 1 else ("", parts[0])
    tensor = tensor.removesuffix(":0").removeprefix(f"{layer}_")
    return f"{layer}/{_KERAS_1_TENSORS.get(tensor, tensor)}"
