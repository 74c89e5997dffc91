"""A camera program of the board's own (GStreamer, rpicam-vid) as a source: it runs beside us and writes pictures."""

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.address import scrub
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.sources.pipe import Pipe, PipeSilentError
from edgex_runtime.sources.source import Frame, SourceInfo

TIMEOUT_S = 10.0
"""For the first picture, camera start included, and for each one after it."""
STOP_S = 1.0
KEPT_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, and how to understand it.

    Attributes:
        command: The program and its arguments; no shell sees them.
        read_picture: Reads one picture: (H, W, 3) uint8 RGB; None at the end, also where a picture is not whole.
        mistakes: Words of its messages that mean that the user, and not the camera, has to do something.
        fps: Frames per second; None where it is not known.
    """

    command: Sequence[str]
    read_picture: Callable[[Pipe], NDArray[np.uint8] | None]
    mistakes: tuple[str, ...] = ()
    fps: float | None = None


class ProgramSource:
    """Runs a program from `open` to `close`."""

    def __init__(self, program: Program, *, name: str, clock: Clock) -> None:
        """Store; `open` starts it."""
        self._program = program
        self._info = SourceInfo(name=name, live=True, fps=program.fps)
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._index = 0
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._listener = threading.Thread(target=self._listen, name="edgex-program", daemon=True)

    @property
    def info(self) -> SourceInfo:
        """Live."""
        return self._info

    def open(self) -> None:
        """Start the program, and wait for its first bytes.

        Raises:
            BadInputError: If it says that it was called wrongly.
            SourceLostError: If it ends, or gives nothing in time.
        """
        # In a session of its own: Ctrl-C is for us, and we end it.
        self._process = subprocess.Popen(
            self._program.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._listener.start()
        self._pipe = Pipe(self._process.stdout.fileno(), timeout_s=TIMEOUT_S, stop=lambda: self._closing)
        try:
            self._pipe.wait()
            if self._pipe.at_end():
                self._exit_code()
                raise self._failure()
        except PipeSilentError as error:
            self.close()
            raise SourceLostError(f"{self._info.name}: {error}: does the camera work? {self._words()}") from error
        except (BadInputError, SourceLostError):
            self.close()
            raise

    def read(self) -> Frame | None:
        """Wait for the next picture.

        Returns:
            None at the end: the program said that all is well, or was interrupted.

        Raises:
            SourceLostError: If it failed, or gave nothing in time.
        """
        try:
            if self._process is None or not self._pipe.wait():
                return None
            captured_ns = self._clock.now_ns()
            image = self._program.read_picture(self._pipe)
        except PipeSilentError as error:
            raise SourceLostError(f"{self._info.name}: {error}: the camera hangs. {self._words()}") from error
        if image is None:
            if not self._closing and self._exit_code() != 0:
                raise SourceLostError(f"{self._info.name}: the program ended. {self._words()}")
            return None
        index = self._index
        self._index += 1
        return Frame(image=image, index=index, captured_ns=captured_ns, name=f"{self._info.name}#{index}")

    def interrupt(self) -> None:
        """End a `read` that waits."""
        self._closing = True

    def close(self) -> None:
        """End the program and take what is left of it."""
        self._closing = True
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._listener.join(STOP_S)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def _exit_code(self) -> int | None:
        """Of a program that has closed its output; None where it runs on all the same."""
        if self._process is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(STOP_S)
        return None

    def _failure(self) -> BadInputError | SourceLostError:
        self._listener.join(STOP_S)
        words = self._words()
        kind = BadInputError if any(word in words for word in self._program.mistakes) else SourceLostError
        return kind(f"{self._info.name}: {self._program.command[0]} gave no picture. {words}")

    def _words(self) -> str:
        said = "; ".join(line for line in list(self._said) if line)
        return f"It said: {said}" if said else "It said nothing."

    def _listen(self) -> None:
        process = self._process
        assert process is not None
        assert process.stderr is not None
        for line in process.stderr:
            text = line.decode("utf-8", "replace").strip()
            self._said.append(scrub(text, self._program.command)[:300])
