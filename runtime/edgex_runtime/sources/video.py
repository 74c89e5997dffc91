"""A video file by OpenCV's FFMPEG: every frame, upright, with its own timestamp."""

import logging
from pathlib import Path

import cv2

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError
from edgex_runtime.sources.options import MAX_FPS
from edgex_runtime.sources.source import Frame, SourceInfo

logger = logging.getLogger(__name__)


class VideoSource:
    """Reads a video to its end; the rotation in its metadata is applied by OpenCV."""

    def __init__(self, capture: cv2.VideoCapture, *, path: Path, clock: Clock) -> None:
        """Take over an opened `capture`."""
        fps = capture.get(cv2.CAP_PROP_FPS)
        # Files without a rate give 0, NaN or the time base (90000).
        self._info = SourceInfo(name=path.name, live=False, fps=fps if 0 < fps <= MAX_FPS else None)
        self._announced = int(max(capture.get(cv2.CAP_PROP_FRAME_COUNT), 0))
        self._capture = capture
        self._clock = clock
        self._index = 0
        self._at_end = False

    @property
    def info(self) -> SourceInfo:
        """Not live; the file's own frame rate."""
        return self._info

    def read(self) -> Frame | None:
        """Decode the next frame.

        Raises:
            BadInputError: If not even the first can be decoded.
        """
        if self._at_end:
            return None
        asked_ns = self._clock.now_ns()
        decoded, image_bgr = self._capture.read()
        if not decoded:
            self._end()
            return None
        index = self._index
        self._index += 1
        return Frame(
            image=cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB),  # type: ignore[arg-type]  # cv2's stubs: any dtype
            index=index,
            captured_ns=asked_ns,
            name=f"{self._info.name}#{index}",
            position_ms=self._capture.get(cv2.CAP_PROP_POS_MSEC),
        )

    def _end(self) -> None:
        self._at_end = True
        if self._index == 0:
            raise BadInputError(f"{self._info.name}: not one frame can be decoded: get the file again, or convert it")
        # The announced count is exact for intact MP4 files and an estimate elsewhere: a hint, not an error.
        if self._index < self._announced:
            logger.warning(
                "%s: the file announces %d frames, %d could be decoded: it may be cut off or damaged",
                self._info.name,
                self._announced,
                self._index,
            )

    def close(self) -> None:
        """Let go of the file."""
        self._at_end = True
        self._capture.release()


def open_video(uri: str, clock: Clock) -> VideoSource:
    """Open a video file.

    Raises:
        BadInputError: If OpenCV's FFMPEG cannot read it as a video.
    """
    capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise BadInputError(
            f"{shown(uri)}: want a video that OpenCV's FFMPEG can decode or an image file, this is neither, "
            "or it is cut off before its index: play it, or convert it to MP4"
        )
    return VideoSource(capture, path=Path(uri), clock=clock)
