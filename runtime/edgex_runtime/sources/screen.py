"""What a screen shows: ``screen://1?fps=10&region=640x480,100,50``, by MSS."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import mss
import numpy as np
from mss.exception import ScreenShotError
from numpy.typing import NDArray

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.sources.options import parse_fps, parse_options
from edgex_runtime.sources.source import Frame, SourceInfo

WAIT_S = 0.1
Region = tuple[int, int, int, int]


def parse_region(text: str) -> Region:
    """``640x480,100,50`` → width, height, left, top.

    >>> parse_region("640x480,100,50")
    (640, 480, 100, 50)
    """
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5}),([0-9]{1,5}),([0-9]{1,5})", text)
    if match is None or not (int(match[1]) and int(match[2])):
        raise ValueError("want WIDTHxHEIGHT,LEFT,TOP, such as 640x480,100,50")
    return int(match[1]), int(match[2]), int(match[3]), int(match[4])


OPTIONS: dict[str, Callable[[str], object]] = {"fps": parse_fps, "region": parse_region}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenOptions:
    """How often to look, and at which part; None for the whole screen."""

    fps: float = 10.0
    region: Region | None = None


class ScreenSource:
    """Looks at a screen at a steady rate; a screen on which nothing moves is STALE, and rightly so."""

    def __init__(self, number: int, options: ScreenOptions, *, clock: Clock) -> None:
        """Store; the connection is made by the thread that reads."""
        self._info = SourceInfo(name=f"screen://{number}", live=True, fps=options.fps)
        self._number = number
        self._options = options
        self._clock = clock
        self._screens: Any = None
        self._due_ns: int | None = None
        self._index = 0
        self._closed = False

    @property
    def info(self) -> SourceInfo:
        """Live, at the rate that was asked for."""
        return self._info

    def read(self) -> Frame | None:
        """Wait until it is time, and look.

        Raises:
            SourceLostError: If the display is gone.
        """
        if not self._wait():
            return None
        captured_ns = self._clock.now_ns()
        try:
            if self._screens is None:
                self._screens = mss.MSS()
            image = grab(self._screens, self._number, self._options.region)
        except ScreenShotError as error:
            raise SourceLostError(f"{self._info.name}: the display is gone: {error}") from error
        index = self._index
        self._index += 1
        return Frame(image=image, index=index, captured_ns=captured_ns, name=f"{self._info.name}#{index}")

    def interrupt(self) -> None:
        """End a `read` that waits."""
        self._closed = True

    def close(self) -> None:
        """Let go of the display."""
        self._closed = True
        screens, self._screens = self._screens, None
        if screens is not None:
            screens.close()

    def _wait(self) -> bool:
        period_ns = round(1e9 / self._options.fps)
        now_ns = self._clock.now_ns()
        due_ns = now_ns if self._due_ns is None else max(self._due_ns, now_ns)
        while not self._closed and (left_ns := due_ns - self._clock.now_ns()) > 0:
            self._clock.sleep(min(left_ns / 1e9, WAIT_S))
        self._due_ns = due_ns + period_ns
        return not self._closed


def grab(screens: Any, number: int, region: Region | None) -> NDArray[np.uint8]:
    """Look once.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous.
    """
    area = screens.monitors[number]
    if region is not None:
        width, height, left, top = region
        area = {"left": area["left"] + left, "top": area["top"] + top, "width": width, "height": height}
    shot = screens.grab(area)
    pixels = np.frombuffer(shot.raw, dtype=np.uint8).reshape(shot.height, shot.width, 4)
    image: NDArray[np.uint8] = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)  # type: ignore[assignment]  # cv2's stubs
    return image


def open_screen(uri: str, clock: Clock) -> ScreenSource:
    """Open ``screen://`` (the first), ``screen://2`` or ``screen://0`` (all of them side by side).

    Raises:
        BadInputError: If there is no such screen, or an option is unknown.
        SourceLostError: If there is no display.
    """
    text, _, query = uri[len("screen://") :].partition("?")
    options = ScreenOptions(**parse_options(query, OPTIONS, where=uri))  # type: ignore[arg-type]
    try:
        with mss.MSS() as screens:
            count = len(screens.monitors)
            if not re.fullmatch(r"[0-9]{0,2}", text) or int(text or 1) >= count:
                raise BadInputError(
                    f"{shown(uri)}: want a screen from 1 to {count - 1}, or 0 for all, as in screen://1"
                )
            grab(screens, int(text or 1), options.region)
    except ScreenShotError as error:
        raise SourceLostError(
            f"{shown(uri)}: want a display, found none that can be read: {error}: run this where $DISPLAY is an X "
            "server"
        ) from error
    return ScreenSource(int(text or 1), options, clock=clock)
