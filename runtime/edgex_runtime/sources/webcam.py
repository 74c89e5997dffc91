"""A V4L2 camera by OpenCV: an index or a device file, and plain words when it is not there."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import cv2

from edgex_runtime.clock import Clock
from edgex_runtime.errors import SourceLostError
from edgex_runtime.sources.options import MAX_FPS, Size, parse_fps, parse_options, parse_size
from edgex_runtime.sources.source import Frame, SourceInfo

# A driver stamp older than this, or from the future, is of another clock than ours.
MAX_STAMP_AGE_NS = 5_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WebcamOptions:
    """What a user may ask of the driver; None leaves it at its default."""

    size: Size | None = None
    fps: float | None = None


class WebcamSource:
    """Reads an opened camera."""

    def __init__(self, capture: cv2.VideoCapture, *, device: Path, clock: Clock) -> None:
        """Take over an opened `capture`."""
        fps = capture.get(cv2.CAP_PROP_FPS)
        self._info = SourceInfo(name=str(device), live=True, fps=fps if 0 < fps <= MAX_FPS else None)
        self._capture = capture
        self._clock = clock
        self._index = 0

    @property
    def info(self) -> SourceInfo:
        """Live; the rate that the driver reports."""
        return self._info

    def read(self) -> Frame | None:
        """Wait for the camera's next frame; OpenCV gives up after ten seconds of silence."""
        if not self._capture.isOpened():
            return None
        if not self._capture.grab():
            raise SourceLostError(f"{self._info.name}: the camera stopped sending: is it still plugged in? {found()}")
        captured_ns = stamp_ns(self._capture.get(cv2.CAP_PROP_POS_MSEC), self._clock.now_ns())
        decoded, image_bgr = self._capture.retrieve()
        if not decoded:
            raise SourceLostError(f"{self._info.name}: the camera sent a frame that cannot be decoded")
        index = self._index
        self._index += 1
        image = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
        name = f"{self._info.name}#{index}"
        return Frame(image=image, index=index, captured_ns=captured_ns, name=name)  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()


def stamp_ns(driver_ms: float, now_ns: int) -> int:
    """When a frame was taken: the driver's stamp where it is of the monotonic clock, else the moment it was grabbed.

    >>> stamp_ns(1000.0, 1_040_000_000), stamp_ns(1.7e12, 1_040_000_000), stamp_ns(0.0, 10**12)
    (1000000000, 1040000000, 1000000000000)
    """
    driver_ns = round(driver_ms * 1e6)
    return driver_ns if 0 < driver_ns <= now_ns and now_ns - driver_ns <= MAX_STAMP_AGE_NS else now_ns


def open_webcam(uri: str, clock: Clock) -> WebcamSource:
    """Open ``0`` or ``/dev/video0``, with ``?size=1280x720&fps=30`` where the driver's default is not wanted.

    Raises:
        BadInputError: If an option is unknown.
        SourceLostError: If the camera is not there, may not be opened, or does not answer.
    """
    name, _, query = uri.partition("?")
    known = {"size": parse_size, "fps": parse_fps}
    options = WebcamOptions(**parse_options(query, known, where=uri))  # type: ignore[arg-type]
    device = Path(name) if name.startswith("/") else Path(f"/dev/video{int(name)}")
    _check(device)
    capture = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceLostError(f"{device}: is there but does not answer: another program may hold it; {found()}")
    if options.size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.size[1])
    if options.fps is not None:
        capture.set(cv2.CAP_PROP_FPS, options.fps)
    # One buffer: a frame that waits in the driver is a frame that ages.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return WebcamSource(capture, device=device, clock=clock)


def found() -> str:
    """The cameras that exist, in words."""
    devices = sorted(Path("/dev").glob("video*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0))
    return f"here are {', '.join(map(str, devices))}" if devices else "no /dev/video* is here: no camera is plugged in"


def _check(device: Path) -> None:
    if not device.exists():
        raise SourceLostError(f"{device}: no such camera; {found()}. Without a camera, try test://shapes")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceLostError(
            f"{device}: this user may not open it: add it to the group 'video' (sudo usermod -aG video $USER) "
            "and log in again"
        )
