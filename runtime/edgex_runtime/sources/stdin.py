"""Raw pictures on standard input: ``ffmpeg … -f rawvideo -pix_fmt rgb24 - | edgex live MODEL '-?size=640x480'``."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError
from edgex_runtime.sources.options import Size, parse_choice, parse_fps, parse_options, parse_size
from edgex_runtime.sources.pipe import Pipe
from edgex_runtime.sources.raw import FORMATS, frame_bytes, to_rgb
from edgex_runtime.sources.source import Frame, SourceInfo

OPTIONS: dict[str, Callable[[str], object]] = {
    "size": parse_size,
    "format": parse_choice(*FORMATS),
    "fps": parse_fps,
    "live": parse_choice("yes", "no"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StdinOptions:
    """What stands after the ``?``.

    Attributes:
        size: Width and height in pixels.
        format: FFmpeg's name of the pixel format.
        fps: Frames per second, for those who want to know.
        live: ``yes`` drops what a newer picture has overtaken; ``no`` keeps every picture, and the writer waits.
    """

    size: Size
    format: str = "rgb24"
    fps: float | None = None
    live: str = "no"


class StdinSource:
    """Reads one picture after the other; the descriptor stays open."""

    def __init__(self, descriptor: int, options: StdinOptions, *, clock: Clock) -> None:
        """Read from `descriptor`, which is the caller's."""
        self._info = SourceInfo(name="stdin", live=options.live == "yes", fps=options.fps)
        self._options = options
        self._clock = clock
        self._index = 0
        self._ended = False
        self._pipe = Pipe(descriptor, timeout_s=None, stop=lambda: self._ended)

    @property
    def info(self) -> SourceInfo:
        """As the options say."""
        return self._info

    def read(self) -> Frame | None:
        """Wait for the next picture.

        Raises:
            BadInputError: If the last one is short.
        """
        if self._ended or not self._pipe.wait():
            return None
        captured_ns = self._clock.now_ns()
        data = np.empty(frame_bytes(self._options.format, self._options.size), dtype=np.uint8)
        count = self._pipe.fill(data.data)
        if count < data.size:
            ended, self._ended = self._ended, True
            if count and not ended:
                raise BadInputError(
                    f"stdin: want pictures of {data.size} bytes ({self._options.size[0]}x{self._options.size[1]} "
                    f"{self._options.format}), the last one has {count}: the writer stopped within it, or writes "
                    "another size or format"
                )
            return None
        index = self._index
        self._index += 1
        image = to_rgb(data, self._options.format, self._options.size)
        return Frame(image=image, index=index, captured_ns=captured_ns, name=f"stdin#{index}")

    def interrupt(self) -> None:
        """End a `read` that waits."""
        self._ended = True

    def close(self) -> None:
        """Read no more."""
        self._ended = True


def open_stdin(uri: str, clock: Clock) -> StdinSource:
    """Open ``-?size=640x480&format=rgb24&fps=30&live=yes``.

    Raises:
        BadInputError: If the size is not given, an option is unknown, or standard input is a terminal.
    """
    values = parse_options(uri.partition("?")[2], OPTIONS, where=uri)
    if "size" not in values:
        raise BadInputError(
            f"{shown(uri)}: raw pictures have no header: say their size, as in '-?size=640x480&format=rgb24'"
        )
    if sys.stdin is None or sys.stdin.isatty():
        raise BadInputError(
            f"{shown(uri)}: want raw pictures on standard input, found a terminal: pipe a program into edgex"
        )
    options = StdinOptions(**values)  # type: ignore[arg-type]
    width, height = options.size
    if FORMATS[options.format].rows == 3 and (width % 2 or height % 2):
        raise BadInputError(f"{shown(uri)}: {options.format} wants an even width and height, got {width}x{height}")
    return StdinSource(sys.stdin.fileno(), options, clock=clock)
