"""A V4L2 camera by OpenCV: an index, a device file or its stable name, and plain words when it is not there.

How its pixels come out of the driver's buffer, whole or not at all, is `webcam_pixels.py`'s.
"""

import os
import re
import select
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2

from edgex_runtime.clock import Clock
from edgex_runtime.errors import EdgexError, ImageError, SourceLostError
from edgex_runtime.sources.camera_url import TIMEOUT_S, parse_timeout
from edgex_runtime.sources.options import MAX_FPS, Size, parse_fps, parse_options, parse_size
from edgex_runtime.sources.source import Frame, SourceInfo, Unreadable
from edgex_runtime.sources.webcam_pixels import Pixels, choose_pixels

# A driver stamp older than this, or from the future, is of another clock than ours.
MAX_STAMP_AGE_NS = 5_000_000_000
WAIT_S = 0.2
"""Longest wait for a frame before the camera looks whether it is being closed."""
DEV, SYS = Path("/dev"), Path("/sys/class/video4linux")


def parse_format(text: str) -> str:
    """Four letters, as V4L2 names pixel formats.

    >>> parse_format("MJPG")
    'MJPG'
    """
    if re.fullmatch(r"[A-Z0-9]{3,4}", text) is None:
        raise ValueError("want V4L2's name of a pixel format, such as MJPG or YUYV (`v4l2-ctl --list-formats-ext`)")
    return text.ljust(4)


OPTIONS: dict[str, Callable[[str], object]] = {
    "size": parse_size,
    "fps": parse_fps,
    "format": parse_format,
    "timeout": parse_timeout,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebcamOptions:
    """What a user may ask of the driver; None leaves it at its default.

    Attributes:
        size: Width and height in pixels.
        fps: Frames per second.
        format: How the camera sends its pixels; MJPG is often the only one with a high size at a high rate.
        timeout: Seconds in which the next frame has to come.
    """

    size: Size | None = None
    fps: float | None = None
    format: str | None = None
    timeout: float = TIMEOUT_S


class WebcamSource:
    """Reads an opened camera."""

    def __init__(
        self,
        capture: cv2.VideoCapture,
        *,
        pixels: Pixels,
        device: Path,
        descriptor: int | None,
        timeout_s: float,
        clock: Clock,
    ) -> None:
        """Take over an opened `capture`.

        Args:
            capture: Open.
            pixels: Makes a picture of what it retrieves.
            device: Its file.
            descriptor: Under which this process holds that file; None where that is not known.
            timeout_s: How long a frame may take.
            clock: Stamps the frames.
        """
        fps = capture.get(cv2.CAP_PROP_FPS)
        self._info = SourceInfo(name=str(device), live=True, fps=fps if 0 < fps <= MAX_FPS else None)
        self._capture = capture
        self._pixels = pixels
        self._descriptor = descriptor
        self._timeout_s = timeout_s
        self._clock = clock
        self._whole_ns = clock.now_ns()
        self._index = 0
        self._closing = False

    @property
    def info(self) -> SourceInfo:
        """Live; the rate that the driver reports."""
        return self._info

    def read(self) -> Frame | Unreadable | None:
        """Wait for the next frame; where the driver cannot be waited for, OpenCV gives up after ten seconds."""
        if not self._capture.isOpened():
            return None
        waited = self._descriptor is None or wait_readable(self._descriptor, self._timeout_s, lambda: self._closing)
        if self._closing:
            return None
        if not waited or not self._capture.grab():
            raise SourceLostError(f"{self._info.name}: the camera stopped sending: is it still plugged in? {found()}")
        captured_ns = stamp_ns(self._capture.get(cv2.CAP_PROP_POS_MSEC), self._clock.now_ns())
        retrieved, data = self._capture.retrieve()
        index = self._index
        self._index += 1
        name = f"{self._info.name}#{index}"
        try:
            if not retrieved:
                raise ImageError("the camera sent a frame that cannot be decoded")
            image = self._pixels(data)  # type: ignore[arg-type]
        except ImageError as error:
            self._check_patience(error)
            return Unreadable(index=index, captured_ns=captured_ns, name=name, error=f"{name}: {error}")
        self._whole_ns = self._clock.now_ns()
        return Frame(image=image, index=index, captured_ns=captured_ns, name=name)

    def _check_patience(self, error: ImageError) -> None:
        if self._clock.now_ns() - self._whole_ns > self._timeout_s * 1e9:
            raise SourceLostError(
                f"{self._info.name}: nothing but damaged pictures: {error}; try another cable or port, or pixels that "
                "are not compressed: ?format=YUYV"
            ) from error

    def interrupt(self) -> None:
        """End a `read` that waits."""
        self._closing = True

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


def wait_readable(descriptor: int, timeout_s: float, stop: Callable[[], bool]) -> bool:
    """Wait until a read of `descriptor` would not wait, or fails at once; False when time is up or `stop` says so."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    waited_s = 0.0
    while not stop() and waited_s < timeout_s:
        wait_s = min(WAIT_S, timeout_s - waited_s)
        # A camera that does not stream yet answers POLLERR; OpenCV's first grab starts it.
        if poll.poll(wait_s * 1000):
            return True
        waited_s += wait_s
    return False


def open_webcam(uri: str, clock: Clock) -> WebcamSource:
    """Open ``0``, ``/dev/video0`` or ``/dev/v4l/by-id/…``, with ``?size=1280x720&fps=30&format=MJPG&timeout=5s``.

    Raises:
        BadInputError: If an option is unknown.
        MissingExtraError: If the camera sends JPEGs and what decodes them whole is not installed.
        SourceLostError: If the camera is not there, may not be opened, or does not answer.
    """
    name, _, query = uri.partition("?")
    options = WebcamOptions(**parse_options(query, OPTIONS, where=uri))  # type: ignore[arg-type]
    device = Path(name) if name.startswith("/") else Path(f"/dev/video{int(name)}")
    _check(device)
    held = descriptors_of(device)
    capture = cv2.VideoCapture(str(device.resolve()), cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceLostError(f"{device}: is there but does not answer: another program may hold it; {found()}")
    _configure(capture, options)
    try:
        pixels = choose_pixels(capture, device)
    except EdgexError:
        capture.release()
        raise
    new = descriptors_of(device) - held
    descriptor = new.pop() if len(new) == 1 else None
    return WebcamSource(
        capture, pixels=pixels, device=device, descriptor=descriptor, timeout_s=options.timeout, clock=clock
    )


def _configure(capture: cv2.VideoCapture, options: WebcamOptions) -> None:
    # The format first: it decides which sizes there are, and the size which rates.
    if options.format is not None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*options.format))
    if options.size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.size[1])
    if options.fps is not None:
        capture.set(cv2.CAP_PROP_FPS, options.fps)


def descriptors_of(device: Path) -> set[int]:
    """Under which numbers this process holds a file, as /proc tells: OpenCV does not say its own."""
    real = str(device.resolve())
    numbers = set()
    for link in Path("/proc/self/fd").glob("*"):
        # One that was closed meanwhile is not there any more.
        with suppress(OSError):
            if str(link.readlink()) == real:
                numbers.add(int(link.name))
    return numbers


def found(dev: Path = DEV, sys: Path = SYS) -> str:
    """The cameras that exist, in words, each with what it calls itself."""
    devices = sorted(dev.glob("video*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0))
    if not devices:
        return "no /dev/video* is here: no camera is plugged in"
    stable = sorted(str(path) for path in (dev / "v4l" / "by-id").glob("*"))
    words = f"here are {', '.join(f'{device}{_called(sys / device.name)}' for device in devices)}"
    return f"{words}; by names that stay: {', '.join(stable)}" if stable else words


def _called(entry: Path) -> str:
    try:
        return f" ({(entry / 'name').read_text(errors='replace').strip()})"
    except OSError:
        return ""


def _check(device: Path) -> None:
    if not device.exists():
        raise SourceLostError(f"{device}: no such camera; {found()}. Without a camera, try test://shapes")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceLostError(
            f"{device}: this user may not open it: add it to the group 'video' (sudo usermod -aG video $USER) "
            "and log in again"
        )
