"""The window's own process: shows the newest picture that comes in by stdin, and tells by stdout what was pressed.

In a process of its own, for a display that hangs, hangs whoever draws to it; and because some window toolkits work in a
process's main thread only.
"""

import struct
import sys
import threading
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

# Width and height of the (height, width, 3) uint8 RGB that follows; width 0: the height says whether the run is paused.
HEADER = struct.Struct("<II")
READY, STOP, PAUSE = b"ready\n", b"stop\n", b"pause\n"

TITLE = "edgex"
PAUSED = "edgex - paused: space goes on"
KEYS_STOP = frozenset({ord("q"), ord("Q"), 27})
KEY_PAUSE = ord(" ")
POLL_MS = 10
FIRST_SIZE = (1280, 720)


class Inbox:
    """Reads the parent's messages in a thread; keeps the newest picture only."""

    def __init__(self, stream: BinaryIO) -> None:
        """Store; `run` reads until the end."""
        self._stream = stream
        self._lock = threading.Lock()
        self._newest: Image | None = None
        self.is_ended = False
        self.is_paused = False

    def run(self) -> None:
        """Read until the parent closes the pipe, or is gone."""
        while len(header := self._stream.read(HEADER.size)) == HEADER.size:
            width, height = HEADER.unpack(header)
            if width == 0:
                self.is_paused = bool(height)
                continue
            pixels = self._stream.read(width * height * 3)
            if len(pixels) != width * height * 3:
                break
            with self._lock:
                self._newest = np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3)
        self.is_ended = True

    def take(self) -> Image | None:
        """The newest picture, once."""
        with self._lock:
            newest, self._newest = self._newest, None
        return newest


def show(inbox: Inbox, answers: BinaryIO) -> None:
    """Show what comes until the parent or the user ends it."""
    cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    _say(answers, READY)
    shown = False
    title = TITLE
    while not inbox.is_ended:
        picture = inbox.take()
        if picture is not None:
            if not shown:
                cv2.resizeWindow(TITLE, *_first_size(picture))
            cv2.imshow(TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            shown = True
            _say(answers, READY)
        if (wanted := PAUSED if inbox.is_paused else TITLE) != title:
            title = wanted
            cv2.setWindowTitle(TITLE, title)
        key = cv2.waitKey(POLL_MS) & 0xFF
        if key in KEYS_STOP or (shown and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1):
            _say(answers, STOP)
            return
        if key == KEY_PAUSE:
            _say(answers, PAUSE)


def _first_size(picture: Image) -> tuple[int, int]:
    height, width = picture.shape[:2]
    scale = min(FIRST_SIZE[0] / width, FIRST_SIZE[1] / height, 1.0)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _say(answers: BinaryIO, word: bytes) -> None:
    answers.write(word)
    answers.flush()


def main() -> None:
    """Show until the end; what goes wrong is told by stderr and the exit code."""
    inbox = Inbox(sys.stdin.buffer)
    threading.Thread(target=inbox.run, daemon=True).start()
    show(inbox, sys.stdout.buffer)


if __name__ == "__main__":
    main()
