"""The terminal: a line for each source that keeps itself up to date, or plain lines where nobody watches."""

import os
from collections.abc import Sequence
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
SOURCE_CELLS = 14
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

    Pictures from a folder, pictures that could not be read and events get a line of their own; a stream's newest result
    takes the place of the one before, each of several sources having its line. Without a terminal a stream gets one
    line a second, and one at each change of state.
    """

    def __init__(
        self, stream: TextIO, *, source: SourceInfo, tty: bool, color: bool, sources: Sequence[SourceInfo] = ()
    ) -> None:
        """Store.

        Args:
            stream: Where to write; left open.
            source: Decides whether every picture matters (no frame rate) or the newest does.
            tty: Whether a line may be written over.
            color: Whether the state may be coloured.
            sources: All sources of the run; the lines say which, where there are several.
        """
        self._stream = stream
        self._still = source.fps is None and not source.live
        self._tty = tty
        self._color = color
        self._several = len(sources) > 1
        self._tracks: dict[str, _Track] = {}
        self._open_lines = 0

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Show a result, unless it comes too soon after the one before."""
        track = self._tracks.setdefault(result.source, _Track())
        if result.index is not None:
            track.rate.add(result.at_ns)
        period_ns = TTY_PERIOD_NS if self._tty else PLAIN_PERIOD_NS
        own_line = result.index is not None and (self._still or result.error is not None)
        lines = [self._fit(words, result.state) for words in self._events(result)]
        if own_line or track.is_due(result, period_ns):
            track.show(result)
            line = self._line(result, track)
            if own_line or not self._tty:
                lines.append(line)
            else:
                track.line = line
        elif not lines:
            return
        if self._tty:
            self._redraw(lines)
        else:
            self._stream.writelines(f"{line}\n" for line in lines)
        self._stream.flush()

    def close(self) -> None:
        """Leave the last lines standing."""
        if self._open_lines:
            self._stream.write("\n")
            self._stream.flush()
            self._open_lines = 0

    def _redraw(self, above: Sequence[str]) -> None:
        """Write `above` for good, and below it the newest line of each source."""
        up = f"\x1b[{self._open_lines - 1}A" if self._open_lines > 1 else ""
        kept = [track.line for track in self._tracks.values() if track.line is not None]
        text = "".join(f"\r\x1b[K{line}\n" for line in above) + "\n".join(f"\r\x1b[K{line}" for line in kept)
        self._stream.write(up + text)
        self._open_lines = len(kept)

    def _line(self, result: LiveResult, track: "_Track") -> str:
        if result.index is not None and result.error is not None:
            # A source's words for it begin with its name, as a rule.
            name = "" if result.error.startswith(f"{result.name}:") else f"{result.name}: "
            return self._fit(printable(name + result.error), None)
        age = [] if result.age_ms is None else [f"age {result.age_ms:5.0f} ms"]
        source = [set_cell_size(printable(result.source), SOURCE_CELLS)] if self._several else []
        if result.shown_label is None or result.score is None:
            return self._fit("  ".join([*source, *age]), result.state)
        bar = ("█" * round(result.score * BAR_CELLS)).ljust(BAR_CELLS, "░")
        label = set_cell_size(printable(result.shown_label), LABEL_CELLS)
        shown = [*source, f"{label} {bar} {result.score:6.1%}"]
        if self._still:
            return self._fit("  ".join([*shown, printable(result.name)]), result.state)
        notes = [f"{result.dropped} dropped"] if result.dropped else []
        notes += ["still"] if result.reused else []
        notes += [printable(result.model)] if result.model else []
        return self._fit("  ".join([*shown, *age, *track.rate.words(), *notes]), result.state)

    def _events(self, result: LiveResult) -> list[str]:
        where = f" at {result.source}" if self._several else ""
        return [printable(f"{event.label} {event.kind}{where}") for event in result.events]

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


class _Track:
    """What was shown last of one source."""

    def __init__(self) -> None:
        self.rate = _Rate()
        self.line: str | None = None
        self._shown_ns: int | None = None
        self._shown_state: State | None = None

    def is_due(self, result: LiveResult, period_ns: int) -> bool:
        """Whether it is time for a new line, or the state has changed."""
        return (
            self._shown_ns is None
            or result.state is not self._shown_state
            or result.at_ns - self._shown_ns >= period_ns
        )

    def show(self, result: LiveResult) -> None:
        """Remember that `result` was shown."""
        self._shown_ns, self._shown_state = result.at_ns, result.state


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
    return TerminalSink(
        stream,
        source=surroundings.source,
        tty=tty and os.environ.get("TERM") != "dumb",
        color=color,
        sources=surroundings.sources,
    )


def _columns(stream: TextIO) -> int:
    try:
        # A terminal that was never given a size says 0.
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS
