"""The terminal: a line for each source that keeps itself up to date, and plain lines where there is none."""

import io
import re
from dataclasses import replace

import pytest
from sample_results import EVENTS, FAILED, FOLDER, LIVE, RESULT, STALE

from edgex_runtime.sinks.sink import Event
from edgex_runtime.sinks.terminal import TerminalSink
from edgex_runtime.sources.source import SourceInfo


def terminal(
    source: SourceInfo, *, tty: bool, color: bool = False, sources: tuple[SourceInfo, ...] = ()
) -> tuple[TerminalSink, io.StringIO]:
    stream = io.StringIO()
    return TerminalSink(stream, source=source, tty=tty, color=color, sources=sources), stream


def screen(text: str) -> list[str]:
    """What a terminal shows after `text`: knows the few commands that the sink uses."""
    lines, row = [""], 0
    for part in re.split(r"(\n|\r\x1b\[K|\x1b\[\d+A)", text):
        if part == "\n":
            row += 1
            lines += [""] if row == len(lines) else []
        elif part.startswith("\r"):
            lines[row] = ""
        elif part.startswith("\x1b"):
            row -= int(part[2:-1])
        else:
            lines[row] += part
    return lines


def test_each_of_several_sources_keeps_its_line_and_events_stay_above() -> None:
    sink, stream = terminal(LIVE, tty=True, sources=(LIVE, LIVE))
    for index in range(30):
        for source, label in (("door", "cat"), ("yard", "dog")):
            events = (Event(kind="appeared", label=label),) if index == 15 else ()
            at_ns = index * 100_000_000
            sink.write(None, replace(RESULT, source=source, label=label, at_ns=at_ns, index=index, events=events))
    sink.close()
    lines = screen(stream.getvalue())
    assert [line.split()[1:4] for line in lines if line] == [
        ["cat", "appeared", "at"],
        ["dog", "appeared", "at"],
        ["door", "cat", "█████████░"],
        ["yard", "dog", "█████████░"],
    ]


@pytest.mark.parametrize("tty", [True, False])
def test_a_terminal_shows_unknown_for_a_guess_and_every_event(tty: bool) -> None:
    sink, stream = terminal(LIVE, tty=tty)
    sink.write(None, replace(RESULT, known=False, index=0))
    # Too soon for a line of results, but events are news.
    sink.write(None, replace(RESULT, events=EVENTS, at_ns=RESULT.at_ns + 1))
    sink.close()
    shown = [line.split()[1:3] for line in screen(stream.getvalue()) if line]
    events = [["cat", "appeared"], ["róża", "left"]]
    assert shown == ([*events, ["unknown", "█████████░"]] if tty else [["unknown", "█████████░"], *events])


def test_a_stream_keeps_one_line_of_the_terminal_up_to_date() -> None:
    sink, stream = terminal(LIVE, tty=True)
    for index in range(100):
        sink.write(None, replace(RESULT, index=index, at_ns=index * 10_000_000))
    sink.close()
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert 5 < text.count("\r") < 20
    assert all(len(line.strip().removeprefix("\x1b[K")) < 80 for line in text.split("\r"))
    assert "róża" in text
    assert "93.1%" in text
    assert "100.0 fps" in text


def test_without_a_terminal_a_stream_gets_a_line_a_second_and_one_at_each_change_of_state() -> None:
    sink, stream = terminal(LIVE, tty=False)
    for index in range(100):
        sink.write(None, replace(RESULT, index=index, at_ns=index * 20_000_000))
    sink.write(None, replace(STALE, at_ns=100 * 20_000_000))
    sink.close()
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["LIVE", "LIVE", "STALE"]
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("tty", [True, False])
def test_every_picture_of_a_folder_gets_its_line(tty: bool) -> None:
    sink, stream = terminal(FOLDER, tty=tty)
    for index in range(5):
        sink.write(None, replace(RESULT, index=index, name=f"{index}.png", at_ns=0))
    sink.write(None, FAILED)
    sink.close()
    assert stream.getvalue().count("\n") == 6
    assert stream.getvalue().count("x.jpg: want an image") == stream.getvalue().count("x.jpg") == 1


def test_a_label_cannot_command_the_terminal() -> None:
    sink, stream = terminal(LIVE, tty=False)
    sink.write(None, replace(RESULT, label="\x1b]0;owned\x07\n"))
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
