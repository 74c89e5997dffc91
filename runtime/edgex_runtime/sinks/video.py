"""An annotated video: .mp4 (MPEG-4 Part 2), .webm (VP8, which browsers play) or .avi (motion JPEG).

OpenCV's wheels have no H.264 encoder. Their VP9 takes 47 ms for a 640×360 frame, VP8 6 ms and MPEG-4 Part 2 0.8 ms.

The frame rate is constant, by this rule. Of a video file: the file's rate, and one picture for each of its frames. Of a
folder: each picture for half a second. Of a live source: its rate, 30 at most (.webm: 15), and one second of video is
one second of the world; a picture stands from the moment its result was ready until the next one is, repeated or left
out as the rate demands.
"""

import logging
import math
import os
import secrets
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.errors import BadInputError
from edgex_runtime.sinks.annotate import Annotator
from edgex_runtime.sinks.mosaic import BLANK_SIZE, Mosaic, blank
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame, SourceInfo

logger = logging.getLogger(__name__)

CODECS = {".mp4": "mp4v", ".webm": "VP80", ".avi": "MJPG"}
# A repeated picture costs an encoding too: of a live source, a slow codec gets half of them.
LIVE_FPS = {".mp4": 30.0, ".webm": 15.0, ".avi": 30.0}
STILL_FPS = 2.0
ROOM_BYTES = 16 << 20
"""Left on the disk, so that the file can be finished: for one more picture, and for the index of some hours."""

Image = NDArray[np.uint8]


class VideoSink:
    """Writes under a temporary name beside `path`, which `close` renames."""

    def __init__(self, path: Path, *, source: SourceInfo, sources: int = 1) -> None:
        """Store; the file is made with the first picture, whose size decides.

        Args:
            path: With one of the suffixes of `CODECS`.
            source: Decides the frame rate.
            sources: How many there are; of several each gets its part of the picture.
        """
        self._path = path
        self._temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}{path.suffix}")
        self._live = source.live
        self._fps = source.fps or STILL_FPS
        if source.live:
            self._fps = min(source.fps or math.inf, LIVE_FPS[path.suffix.lower()])
        self._annotator = Annotator()
        self._writer: cv2.VideoWriter | None = None
        self._mosaic = Mosaic(sources)
        self._start_ns = 0
        self._slot = 0
        self._pending: Image | None = None
        self._closed = False

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Draw and keep one result; what only tells the state is drawn on the picture before.

        Raises:
            BadInputError: If the file cannot be made, or the disk is nearly full: what was written is kept.
        """
        if result.index is None and (not self._live or self._writer is None):
            return
        self._check_room()
        if self._writer is None:
            self._open(frame.image if frame is not None else blank(BLANK_SIZE), result.at_ns)
        assert self._writer is not None
        canvas = self._mosaic.canvas(frame, result)
        drawn = self._annotator.draw(canvas, result, title=self._mosaic.title(result))
        picture = self._mosaic.put(result.source, drawn)
        if not self._live:
            self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            return
        slot = round((result.at_ns - self._start_ns) * self._fps / 1e9)
        self._write_pending(until=slot)
        self._pending = picture

    def close(self) -> None:
        """Finish the file and give it its name; without a single picture there is none.

        Raises:
            BadInputError: If the disk did not take it.
        """
        if self._closed:
            return
        self._closed = True
        if self._writer is None:
            logger.warning("%s: not written, for there was no picture", self._path)
            return
        self._write_pending(until=self._slot + 1)
        self._writer.release()
        try:
            self._check_end()
            self._temporary.replace(self._path)
        except OSError as error:
            raise BadInputError(
                f"{self._path}: cannot be written: {error}; what was written, if it plays, is {self._temporary}"
            ) from error

    def _check_room(self) -> None:
        # FFmpeg's failures stay within OpenCV, which writes on, and what comes of it does not play.
        if shutil.disk_usage(self._path.parent).free < ROOM_BYTES:
            raise BadInputError(
                f"{self._path}: want {ROOM_BYTES >> 20} MB left on the disk, found less: make room, or write elsewhere"
            )

    def _check_end(self) -> None:
        """Raise OSError where the file would not grow (a quota, say): what came last is not in it then."""
        with self._temporary.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
            file.truncate(size)

    def _open(self, image: Image, start_ns: int) -> None:
        size = self._mosaic.settle(image)
        self._start_ns = start_ns
        fourcc = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, fourcc, self._fps, size)
        if not self._writer.isOpened():
            self._closed = True
            raise BadInputError(f"{self._path}: OpenCV cannot encode it; write .webm or .avi, or look at the disk")

    def _write_pending(self, *, until: int) -> None:
        """Let the picture before stand up to slot `until`; in the same slot the newer one takes its place."""
        if self._pending is None or self._writer is None:
            return
        picture_bgr = cv2.cvtColor(self._pending, cv2.COLOR_RGB2BGR)
        for _ in range(until - self._slot):
            self._writer.write(picture_bgr)
        self._slot = max(self._slot, until)


def open_video(uri: str, surroundings: Surroundings) -> VideoSink:
    """Prepare a video file.

    Raises:
        BadInputError: If its folder is not there or cannot be written to, or several sources are not all live.
    """
    sources = surroundings.sources or (surroundings.source,)
    if len(sources) > 1 and not all(source.live for source in sources):
        raise BadInputError(f"{uri}: of several sources a video is made only where all are live: give it one")
    path = Path(uri)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise BadInputError(f"{uri}: want a file in a folder that exists and can be written to")
    return VideoSink(path, source=surroundings.source, sources=len(sources))
