"""The camera of whoever opens the console's page: pictures come by a `Mailbox`, which the console fills."""

import re

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, ImageError
from edgex_runtime.image import read_image
from edgex_runtime.sources.mailbox import Mailbox, mailbox
from edgex_runtime.sources.source import Frame, SourceInfo, Unreadable

LOOK_S = 2.0
"""How often a `read` that waits looks whether a console still runs."""
MAX_SIDE_PX = 4096


class BrowserSource:
    """Reads what browsers send. Nobody sending is neither loss nor end: whoever opens the page later is welcome."""

    def __init__(self, box: Mailbox, *, clock: Clock) -> None:
        self._box = box
        self._info = SourceInfo(name=box.name, live=True)
        self._closed = False
        box.clock = clock

    @property
    def info(self) -> SourceInfo:
        """Live; at the rate that the browser and its network can."""
        return self._info

    def read(self) -> Frame | Unreadable | None:
        """Wait for the browser's next picture, for as long as it takes.

        Raises:
            BadInputError: If none can come, because no console runs.
        """
        shot = None
        while shot is None:
            shot = self._box.take(timeout_s=LOOK_S, given_up=lambda: self._closed)
            if self._closed:
                return None
            if shot is None and not self._box.is_served:
                raise BadInputError(
                    f"{self._info.name}: a browser's camera comes through the console, and none runs: "
                    "add --out http://127.0.0.1:8080, and open that address"
                )
        name = f"{self._info.name}#{shot.index}"
        try:
            image = decode(shot.jpeg)
        except ImageError as error:
            return Unreadable(index=shot.index, captured_ns=shot.captured_ns, name=name, error=str(error))
        return Frame(image=image, index=shot.index, captured_ns=shot.captured_ns, name=name)

    def interrupt(self) -> None:
        """End a `read` that waits, from another thread."""
        self.close()

    def close(self) -> None:
        """Stop, by any thread: a `read` that waits ends, and so does every later one."""
        self._closed = True
        self._box.wake()


def decode(jpeg: bytes) -> NDArray[np.uint8]:
    """A browser's JPEG → (H, W, 3) uint8 RGB.

    Raises:
        ImageError: If it is no JPEG, not a whole one, or larger than `MAX_SIDE_PX`: its header is read before a byte
            of memory is spent on it.
    """
    size = jpeg_size(jpeg)
    if size is None:
        raise ImageError(f"camera picture: want a JPEG, got {len(jpeg)} bytes that are none")
    if max(size) > MAX_SIDE_PX:
        raise ImageError(f"camera picture: want {MAX_SIDE_PX} pixels a side at most, got {size[0]} x {size[1]}")
    return read_image(jpeg)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by a JPEG's header; None where there is none. Pillow would say so too, and warn of large ones.

    >>> jpeg_size(bytes.fromhex("ffd8 ffe0 0004 0000 ffc0 000b 08 0010 0020 01011100"))
    (32, 16)
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        # C0 to CF start a frame, but for the tables C4, C8 and CC.
        if marker & 0xF0 == 0xC0 and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[at + 5 + 2 * i : at + 7 + 2 * i], "big") for i in range(2))
            return width, height
        at += 2 + max(length, 2)
    return None


def open_browser(uri: str, clock: Clock) -> BrowserSource:
    """Open ``browser://``, or ``browser://kitchen`` where there is more than one.

    Raises:
        BadInputError: If the name is not one.
    """
    name = uri.removeprefix("browser://")
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,32}", name):
        raise BadInputError(
            f"{shown(uri)}: want browser:// or browser://NAME, the name of up to 32 letters, digits, - and _"
        )
    return BrowserSource(mailbox(f"browser:{name}" if name else "browser"), clock=clock)
