"""A window with the picture and what is known of it; the window itself lives in a process of its own (`window.py`)."""

import logging
import os
import subprocess
import sys
import tempfile
import threading
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.control import Control
from edgex_runtime.errors import BadInputError
from edgex_runtime.sinks.annotate import Annotator
from edgex_runtime.sinks.mosaic import Mosaic
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sinks.window import HEADER, PAUSE, READY, STOP
from edgex_runtime.sources.source import Frame

logger = logging.getLogger(__name__)

URI = "display://"
CHILD_S = 1.0
"""A window that does not end by itself is ended after so long."""
POLL_S = 0.2
ERROR_LETTERS = 300
# Both wheels unpack into one folder, cv2/, and whichever came last is what Python finds: one of them has to go first.
INSTALL = (
    "pip uninstall -y opencv-python-headless && pip install --force-reinstall --no-deps 'opencv-python>=4.10' "
    "(the two cannot stand beside each other)"
)

Image = NDArray[np.uint8]


class DisplaySink:
    """Draws each result and hands the newest picture to the window when that has shown the one before."""

    def __init__(self, child: "subprocess.Popen[bytes]", errors: IO[bytes], *, control: Control, sources: int) -> None:
        """Store, and begin to listen to the window.

        Args:
            child: The window's process; ended by this object.
            errors: What it writes to stderr; closed by this object.
            control: What the window's keys act on.
            sources: How many there are; of several each gets its part of the window.
        """
        self._child = child
        self._errors = errors
        self._control = control
        self._annotator = Annotator()
        self._mosaic = Mosaic(sources)
        self._changed = threading.Condition()
        self._newest: Image | None = None
        self._is_ready = False
        self._has_opened = False
        self._has_ended = False
        self._closing = False
        self._closed = False
        self._threads = [
            threading.Thread(target=run, name=f"edgex-display {run.__name__}", daemon=True)
            for run in (self._listen, self._send)
        ]
        for thread in self._threads:
            thread.start()

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Show one result.

        Raises:
            BadInputError: If the window could not be opened.
        """
        if self._has_ended and not self._has_opened:
            raise BadInputError(f"{URI}: the window cannot be opened: {self._last_words()}")
        canvas = self._mosaic.canvas(frame, result)
        drawn = self._annotator.draw(canvas, result, title=self._mosaic.title(result))
        picture = self._mosaic.put(result.source, drawn)
        with self._changed:
            self._newest = picture
            self._changed.notify_all()

    def close(self) -> None:
        """Close the window, by force if it hangs.

        Raises:
            BadInputError: If it could not be opened.
        """
        if self._closed:
            return
        self._closed = True
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        try:
            self._child.wait(CHILD_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for thread in self._threads:
            thread.join()
        words = self._last_words()
        self._errors.close()
        if not self._has_opened and self._child.returncode:
            raise BadInputError(f"{URI}: the window cannot be opened: {words}")

    def _listen(self) -> None:
        """Do what the window's user wants, until the window's process ends."""
        assert self._child.stdout is not None
        with self._child.stdout as answers:
            for word in answers:
                if word == READY:
                    with self._changed:
                        self._is_ready = self._has_opened = True
                        self._changed.notify_all()
                elif word == STOP:
                    self._control.stop()
                elif word == PAUSE:
                    (self._control.resume if self._control.is_paused else self._control.pause)()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
        if self._has_opened and not (self._closing or self._control.is_stopped):
            logger.warning("%s: the window was lost; the run goes on", URI)

    def _send(self) -> None:
        """Hand over the newest picture whenever the window is ready; closing the pipe ends the window."""
        assert self._child.stdin is not None
        paused = False
        try:
            with self._child.stdin as pipe:
                while True:
                    with self._changed:
                        self._changed.wait_for(self._has_news, POLL_S)
                        if self._closing or self._has_ended:
                            return
                        picture = None
                        if self._is_ready and self._newest is not None:
                            picture, self._newest, self._is_ready = self._newest, None, False
                    if picture is not None:
                        pipe.write(HEADER.pack(picture.shape[1], picture.shape[0]))
                        pipe.write(picture.tobytes())
                    if paused != self._control.is_paused:
                        paused = not paused
                        pipe.write(HEADER.pack(0, paused))
                    pipe.flush()
        except BrokenPipeError:
            # The window is gone; `_listen` says so.
            return

    def _has_news(self) -> bool:
        return self._closing or self._has_ended or (self._is_ready and self._newest is not None)

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        if not lines:
            return f"its process ended with {self._child.poll()}"
        # A toolkit names the cause first, Python last.
        return lines[-1 if lines[0].startswith("Traceback") else 0][:ERROR_LETTERS]


def open_display(uri: str, surroundings: Surroundings) -> DisplaySink:
    """Start the window's process; it appears with the first picture.

    Raises:
        BadInputError: If there is no display, or OpenCV cannot open windows.
    """
    if uri != URI:
        raise BadInputError(f"{uri}: want {URI} and nothing behind it")
    if not cv2.currentUIFramework():
        raise BadInputError(f"{URI}: this OpenCV ({cv2.__version__}) was built without windows: {INSTALL}")
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise BadInputError(
            f"{URI}: there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set): log in at a screen, or "
            "take --out http://127.0.0.1:8080, out.mp4 or terminal://"
        )
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the sink
    child = subprocess.Popen(
        [sys.executable, "-m", "edgex_runtime.sinks.window"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        # Ctrl-C is for the run, which then closes the window.
        start_new_session=True,
    )
    return DisplaySink(child, errors, control=surroundings.control, sources=len(surroundings.sources) or 1)
