"""The terminal: one line that keeps itself up to date, or plain lines where nobody watches."""

import os
from typing import TextIO

from rich.cells import set_cell_size

from edgex_runtime.freshness import State
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame, SourceInfo

TTY_PERIOD_NS = 80_000_000
PLAIN_PERIOD_NS = 1_000_000_000
BAR_CELLS = 10
LABEL_CELLS = 20
HEAD_CELLS = 13
MIN_TEXT_CELLS = 10
DEFAULT_COLUMNS = 80
COLORS = {
    State.LIVE: "\x1b[32m",
    State.STALE: "\x1b[33m",
    State.RECONNECTING: "\x1b[33m",
    State.LOST: "\x1b[31m",
    State.ENDED: "",
}


class TerminalSink:
    """Shows label, score, age, rate and state.

    Pictures from a folder and pictures that could not be read get a line of their own; a stream's newest result takes
    the place of the one before. Without a terminal a stream gets one line a second, and one at each change of state.
    """

    def __init__(self, stream: TextIO, *, source: SourceInfo, tty: bool, color: bool) -> None:
        """Store.

        Args:
            stream: Where to write; left open.
            source: Decides whether every picture matters (no frame rate) or the newest does.
            tty: Whether a line may be written over.
            color: Whether the state may be coloured.
        """
        self._stream = stream
        self._still = source.fps is None and not source.live
        self._tty = tty
        self._color = color
        self._shown_ns: int | None = None
        self._shown_state: State | None = None
        self._rate = _Rate()
        self._open_line = False

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Show a result, unless it comes too soon after the one before."""
        if result.index is not None:
            self._rate.add(result.at_ns)
        own_line = result.index is not None and (self._still or result.error is not None)
        if not (own_line or self._is_due(result)):
            return
        self._shown_ns, self._shown_state = result.at_ns, result.state
        line = self._line(result)
        if not self._tty:
            self._stream.write(line + "\n")
        elif own_line:
            self._stream.write(f"\r\x1b[K{line}\n")
            self._open_line = False
        else:
            self._stream.write(f"\r\x1b[K{line}")
            self._open_line = True
        self._stream.flush()

    def close(self) -> None:
        """Leave the last line standing."""
        if self._open_line:
            self._stream.write("\n")
            self._stream.flush()
            self._open_line = False

    def _is_due(self, result: LiveResult) -> bool:
        period_ns = TTY_PERIOD_NS if self._tty else PLAIN_PERIOD_NS
        return (
            self._shown_ns is None
            or result.state is not self._shown_state
            or result.at_ns - self._shown_ns >= period_ns
        )

    def _line(self, result: LiveResult) -> str:
        if result.index is not None and result.error is not None:
            return self._fit(printable(f"{result.name}: {result.error}"), None)
        age = [] if result.age_ms is None else [f"age {result.age_ms:5.0f} ms"]
        if result.label is None or result.score is None:
            return self._fit("  ".join(age), result.state)
        bar = ("█" * round(result.score * BAR_CELLS)).ljust(BAR_CELLS, "░")
        label = set_cell_size(printable(result.label), LABEL_CELLS)
        shown = f"{label} {bar} {result.score:6.1%}"
        if self._still:
            return self._fit(f"{shown}  {printable(result.name)}", result.state)
        dropped = [f"{result.dropped} dropped"] if result.dropped else []
        return self._fit("  ".join([shown, *age, *self._rate.words(), *dropped]), result.state)

    def _fit(self, text: str, state: State | None) -> str:
        """Put the state before `text`, and cut it so that it does not wrap: a wrapped line cannot be written over."""
        head = f"{'not read' if state is None else state.value:<{HEAD_CELLS}}"
        if self._tty:
            text = set_cell_size(text, max(_columns(self._stream) - len(head) - 1, MIN_TEXT_CELLS)).rstrip()
        color = COLORS[state] if self._color and state is not None else ""
        return f"{color}{head}\x1b[0m{text}" if color else f"{head}{text}"


class _Rate:
    """Frames per second over the last two seconds or so: an average that forgets."""

    KEEP = 0.9

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._period_ns = 0.0

    def add(self, at_ns: int) -> None:
        if self._last_ns is not None:
            period_ns = at_ns - self._last_ns
            first = self._period_ns == 0.0
            self._period_ns = period_ns if first else self.KEEP * self._period_ns + (1 - self.KEEP) * period_ns
        self._last_ns = at_ns

    def words(self) -> list[str]:
        return [f"{1e9 / self._period_ns:5.1f} fps"] if self._period_ns else []


def printable(text: str) -> str:
    r"""Put ``?`` for what a terminal would obey instead of show: labels and file names come from strangers.

    >>> printable("cat\x1b[2J\n")
    'cat?[2J?'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def open_terminal(uri: str, surroundings: Surroundings) -> TerminalSink:
    """Show the results on stderr: stdout is for data.

    Args:
        uri: ``terminal://``.
        surroundings: The source, and the stream.
    """
    stream = surroundings.stderr
    tty = stream.isatty()
    color = tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return TerminalSink(stream, source=surroundings.source, tty=tty and os.environ.get("TERM") != "dumb", color=color)


def _columns(stream: TextIO) -> int:
    try:
        # A terminal that was never given a size says 0.
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS
