"""Pixels that are decoded already, as a camera's are: without the image decoders, which take 3 MB of memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.errors import ImageError


def from_array(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Hold an array to what a picture is.

    Args:
        pixels: (H, W, 3) uint8 RGB or (H, W) uint8 grey.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous; an array that is all that already is returned itself.

    Raises:
        ImageError: If it is neither.
    """
    shape_fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if pixels.dtype != np.uint8 or not shape_fits or pixels.size == 0:
        raise ImageError(
            "image array: want (H, W, 3) uint8 RGB or (H, W) uint8 grey with at least one pixel, "
            f"got {pixels.shape} {pixels.dtype}: convert it first"
        )
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, np.newaxis], 3, axis=2)
    return np.ascontiguousarray(pixels)
