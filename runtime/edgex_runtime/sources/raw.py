"""Uncompressed pixels, by FFmpeg's names of their formats → (H, W, 3) uint8 RGB."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.sources.options import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFormat:
    """How one picture lies in memory.

    Attributes:
        rows: Rows of bytes for each two rows of the picture: chroma planes follow below.
        channels: Bytes side by side for each pixel.
        conversion: OpenCV's code to RGB; None where it is that.
    """

    rows: int
    channels: int
    conversion: int | None


FORMATS = {
    "rgb24": PixelFormat(rows=2, channels=3, conversion=None),
    "bgr24": PixelFormat(rows=2, channels=3, conversion=cv2.COLOR_BGR2RGB),
    "bgra": PixelFormat(rows=2, channels=4, conversion=cv2.COLOR_BGRA2RGB),
    "gray": PixelFormat(rows=2, channels=1, conversion=cv2.COLOR_GRAY2RGB),
    "yuyv422": PixelFormat(rows=2, channels=2, conversion=cv2.COLOR_YUV2RGB_YUYV),
    "yuv420p": PixelFormat(rows=3, channels=1, conversion=cv2.COLOR_YUV2RGB_I420),
    "nv12": PixelFormat(rows=3, channels=1, conversion=cv2.COLOR_YUV2RGB_NV12),
}


def frame_bytes(name: str, size: Size) -> int:
    """How many bytes one picture takes.

    >>> frame_bytes("rgb24", (640, 480)), frame_bytes("yuv420p", (640, 480))
    (921600, 460800)
    """
    width, height = size
    return width * height * FORMATS[name].channels * FORMATS[name].rows // 2


def to_rgb(data: NDArray[np.uint8], name: str, size: Size) -> NDArray[np.uint8]:
    """One picture's bytes → (H, W, 3) uint8 RGB, C-contiguous; `data` itself where it is that."""
    width, height = size
    pixel = FORMATS[name]
    shaped = data.reshape(height * pixel.rows // 2, width, pixel.channels)
    if pixel.conversion is None:
        return shaped
    image: NDArray[np.uint8] = cv2.cvtColor(shaped, pixel.conversion)  # type: ignore[assignment]  # cv2's stubs
    return image
