"""What OpenCV retrieves from a V4L2 camera → RGB: pixels as they are, a JPEG only if it is whole."""

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.errors import MissingExtraError

logger = logging.getLogger(__name__)

Pixels = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""From what `VideoCapture.retrieve` gives to (H, W, 3) uint8 RGB; raises `ImageError` if the picture is not whole."""

JPEG_FORMATS = ("MJPG", "JPEG")
# A frame that waits in the driver is a frame that ages.
BUFFERS = 1
# OpenCV gives the driver its buffer back before it copies what is in it: of one alone the next picture would be written
# over the last one's copy (modules/videoio/src/cap_v4l.cpp, retrieveFrame).
RAW_BUFFERS = 2


def choose_pixels(capture: cv2.VideoCapture, device: Path) -> Pixels:
    """Set how a configured camera hands over its pixels.

    OpenCV decodes a camera's JPEGs itself and takes one with a hole for a whole one; so it is asked for the buffer as
    it came, which is (1, bytes) then.

    Raises:
        MissingExtraError: If the camera sends JPEGs and what decodes them whole is not installed.
    """
    if format_of(capture) not in JPEG_FORMATS:
        capture.set(cv2.CAP_PROP_BUFFERSIZE, BUFFERS)
        return to_rgb
    try:
        from edgex_runtime.sources.jpeg import decode_whole
    except ModuleNotFoundError as error:
        if error.name != "simplejpeg":
            raise
        raise MissingExtraError(
            f"{device}: it sends JPEGs, and what tells a whole one from a damaged one is not installed: "
            "pip install 'edgex[jpeg]', or take pixels that are not compressed: ?format=YUYV"
        ) from error
    # It starts the camera anew, so it comes first.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, RAW_BUFFERS)
    is_raw = capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    return JpegPixels(decode_whole, device, is_raw=is_raw)


def format_of(capture: cv2.VideoCapture) -> str:
    """What the driver sends, by V4L2's name: it need not be what was asked for."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return code.to_bytes(4, "little").decode("latin-1").strip("\0 ")


def to_rgb(image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of what OpenCV has made pixels of."""
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


class JpegPixels:
    """Decodes the buffers of a camera that sends JPEGs; says so where OpenCV does it and cannot be kept from it."""

    def __init__(self, decode: Callable[[bytes], NDArray[np.uint8]], device: Path, *, is_raw: bool) -> None:
        """Store.

        Args:
            decode: Raises `ImageError` for a JPEG that is not whole.
            device: For the words.
            is_raw: Whether OpenCV said that it hands over buffers as they come.
        """
        self._decode = decode
        self._device = device
        self._is_told = False
        if not is_raw:
            self._tell()

    def __call__(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Decode one buffer."""
        if data.ndim == 3 and data.shape[2] == 3:
            self._tell()
            return to_rgb(data)
        return self._decode(data.tobytes())

    def _tell(self) -> None:
        if not self._is_told:
            self._is_told = True
            logger.warning(
                "%s: this OpenCV decodes the camera's JPEGs itself and takes damaged ones for whole ones: take pixels "
                "that are not compressed (?format=YUYV) where cable or hub lose bytes",
                self._device,
            )
