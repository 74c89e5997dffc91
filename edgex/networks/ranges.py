"""Activation ranges in a checkpoint: one small tensor a place, beside the weights and under the same digest."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from edgex_converters.learned import Ranges
from edgex_runtime.errors import WeightsError

PREFIX = "activation_range."


def read_ranges(path: Path) -> Ranges | None:
    """What quantisation-aware training has learned, by place; None for any other file. Imports no torch.

    Raises:
        WeightsError: If the file cannot be read, or a range in it is none.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name.startswith(PREFIX)]  # noqa: SIM118 (a handle, not a dict)
            found = {name.removeprefix(PREFIX): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: want a checkpoint, cannot read it: {error}") from error
    for name, ends in found.items():
        if ends.shape != (2,) or not np.isfinite(ends).all() or not ends[0] <= 0 < ends[1]:
            raise WeightsError(f"{path}: {PREFIX}{name}: want a least value of 0 or less and a greater one, got {ends}")
    return {name: (float(ends[0]), float(ends[1])) for name, ends in found.items()} or None


def as_arrays(ranges: Ranges) -> Mapping[str, "np.ndarray[tuple[int], np.dtype[np.float32]]"]:
    """By the tensor's name in the file."""
    return {f"{PREFIX}{name}": np.array(ends, np.float32) for name, ends in ranges.items()}
