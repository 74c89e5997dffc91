"""One JPEG → its pixels, or the reason why it is not whole. OpenCV and Pillow fill what is missing and say nothing."""

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from edgex_runtime.errors import ImageError
from edgex_runtime.sources.options import MAX_SIDE_PX

MAX_PIXELS = 64 << 20
"""More than any camera has; refused before the pixels are allocated."""


def decode_whole(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG, and refuse it where libjpeg would warn: cut off, with a hole, or with bytes that belong nowhere.

    Tried on a photo-like picture: every cut is found, every hole of 536 bytes (the least TCP segment) or more; single
    bytes that change into another valid code are beyond any decoder, and TCP's checksums keep those off the wire.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous.

    Raises:
        ImageError: If it is not a whole JPEG.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=True)
        if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE_PX * 2:
            raise ImageError(f"want at most {MAX_PIXELS} pixels, found {width} x {height}")
        image: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(
            f"want a whole JPEG, found {len(data)} bytes that are damaged or cut short: {error}"
        ) from error
    return image
