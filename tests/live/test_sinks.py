"""Sinks: what is kept and shown of a run, and what happens when it cannot be."""

import io
import json
import re
import resource
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgex_runtime.errors import BadInputError, MissingExtraError
from edgex_runtime.freshness import State
from edgex_runtime.predictions import Score
from edgex_runtime.sinks.annotate import Annotator
from edgex_runtime.sinks.fake import FakeSink
from edgex_runtime.sinks.jsonl import to_line
from edgex_runtime.sinks.lettering import Lettering, OpenCvPen, Pen, PillowPen
from edgex_runtime.sinks.queued import SinkFigures
from edgex_runtime.sinks.registry import SINKS, Surroundings, open_sink
from edgex_runtime.sinks.sink import Event, LiveResult, Sink, StageTimes
from edgex_runtime.sinks.terminal import TerminalSink
from edgex_runtime.sources.source import Frame, SourceInfo
from edgex_runtime.summary import LiveSummary

FILE = SourceInfo(name="film.mp4", live=False, fps=12.5)
LIVE = SourceInfo(name="camera", live=True, fps=10.0)
FOLDER = SourceInfo(name="photos", live=False)
MakeFrame = Callable[..., Frame]

RESULT = LiveResult(
    state=State.LIVE,
    name="film.mp4#3",
    at_ns=1_000_000_000,
    age_ms=31.2344,
    dropped=2,
    index=3,
    label="róża",
    score=0.9312345678,
    top5=(Score(label="róża", score=0.9312345678), Score(label="cat", score=0.07)),
    times=StageTimes(capture_ms=1.0, preprocess_ms=2.0, inference_ms=3.0, postprocess_ms=0.5),
    position_ms=240.0,
)
EVENTS = (Event(kind="appeared", label="cat"), Event(kind="left", label="róża"))
STALE = LiveResult(state=State.STALE, name="camera", at_ns=2_000_000_000, age_ms=700.0, dropped=0)
FAILED = LiveResult(
    state=State.LIVE, name="x.jpg", at_ns=0, age_ms=None, dropped=0, index=1, error="x.jpg: want an image"
)


def video_frames(path: Path) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames: list[NDArray[np.uint8]] = []
    while True:
        decoded, image = capture.read()
        if not decoded:
            capture.release()
            return frames
        frames.append(np.asarray(image, dtype=np.uint8))


def surroundings(source: SourceInfo = FILE) -> Surroundings:
    return Surroundings(source=source, stdout=io.StringIO(), stderr=io.StringIO())


@pytest.fixture(params=["fake", "-", "terminal://", "out.jsonl", "out.mp4", "out.webm", "out.avi"])
def every_sink(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    if request.param == "fake":
        return FakeSink()
    uri = str(tmp_path / request.param) if request.param.startswith("out") else request.param
    return open_sink(uri, surroundings(LIVE))


def test_every_sink_takes_frames_failures_and_states_and_closes_twice(every_sink: Sink, frame: MakeFrame) -> None:
    kept = frame(3)
    before = kept.image.copy()
    every_sink.write(None, STALE)
    every_sink.write(kept, RESULT)
    every_sink.write(None, FAILED)
    every_sink.write(None, STALE)
    every_sink.close()
    every_sink.close()
    assert np.array_equal(kept.image, before)


def test_json_lines_tell_everything_that_is_known_of_a_frame() -> None:
    around = surroundings()
    sink = open_sink("-", around)
    sink.write(None, RESULT)
    sink.close()
    (line,) = around.stdout.getvalue().splitlines()  # type: ignore[attr-defined]
    assert json.loads(line) == {
        "schema": 1,
        "kind": "frame",
        "index": 3,
        "name": "film.mp4#3",
        "source": "",
        "model": "",
        "state": "LIVE",
        "label": "róża",
        "score": 0.931235,
        "known": True,
        "events": [],
        "reused": False,
        "top5": [{"label": "róża", "score": 0.931235}, {"label": "cat", "score": 0.07}],
        "age_ms": 31.234,
        "dropped": 2,
        "times": {"capture_ms": 1.0, "preprocess_ms": 2.0, "inference_ms": 3.0, "postprocess_ms": 0.5},
        "position_ms": 240.0,
        "at_ns": 1_000_000_000,
        "error": None,
    }


def test_json_lines_tell_a_guess_events_and_an_answer_that_was_used_again() -> None:
    around = surroundings()
    sink = open_sink("-", around)
    sink.write(None, replace(RESULT, known=False, events=EVENTS, reused=True, source="door", model="big"))
    line = json.loads(around.stdout.getvalue())  # type: ignore[attr-defined]
    assert (line["label"], line["known"], line["reused"], line["source"], line["model"]) == (
        "róża",
        False,
        True,
        "door",
        "big",
    )
    assert line["events"] == [{"kind": "appeared", "label": "cat"}, {"kind": "left", "label": "róża"}]


def test_json_lines_are_on_the_disk_before_the_run_ends(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(str(path), surroundings())
    sink.write(None, FAILED)
    sink.write(None, STALE)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(line["kind"], line["state"], line["error"]) for line in lines] == [
        ("frame", "LIVE", "x.jpg: want an image"),
        ("state", "STALE", None),
    ]
    sink.close()


def test_a_full_disk_ends_the_log_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").symlink_to("/dev/full")
    sink = open_sink(str(tmp_path / "out.jsonl"), surroundings())
    with pytest.raises(BadInputError, match="No space left"):
        sink.write(None, RESULT)
    with pytest.raises(BadInputError, match="No space left"):
        sink.close()


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_a_video_of_a_file_has_its_rate_and_a_picture_for_each_frame(
    tmp_path: Path, frame: MakeFrame, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    sink = open_sink(str(path), surroundings(FILE))
    for index in range(15):
        sink.write(frame(index, size=(160, 120)), replace(RESULT, index=index, at_ns=index * 10**12))
    assert not path.exists()
    sink.close()
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    frames = video_frames(path)
    assert len(frames) == 15
    assert frames[0].shape == (120, 160, 3)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)


def test_a_second_of_a_live_source_is_a_second_of_video(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    sink = open_sink(str(path), surroundings(LIVE))
    # At 10 fps: black stands from 0 to 0.5 s, a grey one 20 ms before its end falls into white's place, white to 1.0 s.
    for at_ms, grey in ((0, 0), (480, 128), (500, 255)):
        image = np.full((120, 160, 3), grey, dtype=np.uint8)
        shown = Frame(image=image, index=at_ms, captured_ns=0, name="x")
        sink.write(shown, replace(RESULT, index=at_ms, at_ns=at_ms * 1_000_000))
    sink.write(None, replace(STALE, at_ns=1_000_000_000))
    sink.close()
    greys = [round(float(picture[60, 80].mean())) for picture in video_frames(path)]
    assert greys == pytest.approx([0] * 5 + [255] * 6, abs=4)


def test_a_folders_video_takes_pictures_of_all_sizes(tmp_path: Path, frame: MakeFrame) -> None:
    path = tmp_path / "out.avi"
    sink = open_sink(str(path), surroundings(FOLDER))
    for index, size in enumerate([(321, 201), (100, 400), (4000, 10)]):
        sink.write(frame(index, size=size), replace(RESULT, index=index))
    sink.write(None, FAILED)
    sink.close()
    assert [picture.shape for picture in video_frames(path)] == [(200, 320, 3)] * 4


def test_a_video_shows_several_cameras_beside_each_other(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    around = Surroundings(source=LIVE, sources=(LIVE, LIVE))
    sink = open_sink(str(path), around)
    for at_ms, source, grey in ((0, "door", 200), (100, "yard", 100), (200, "door", 50)):
        image = np.full((180, 320, 3), grey, dtype=np.uint8)
        shown = Frame(image=image, index=at_ms, captured_ns=0, name="x")
        sink.write(shown, replace(RESULT, index=at_ms, at_ns=at_ms * 1_000_000, source=source))
    sink.close()
    frames = video_frames(path)
    assert [picture.shape for picture in frames] == [(360, 1280, 3)] * 3
    greys = [[round(float(picture[180, x].mean())) for x in (320, 960)] for picture in frames]
    assert greys == [pytest.approx(pair, abs=6) for pair in ([200, 0], [200, 100], [50, 100])]


def test_a_video_of_several_films_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="give it one"):
        open_sink(str(tmp_path / "out.avi"), Surroundings(source=FILE, sources=(FILE, LIVE)))


def test_a_video_ends_before_the_disk_is_full_and_plays(
    tmp_path: Path, frame: MakeFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.mp4"
    sink = open_sink(str(path), surroundings(FILE))
    for index in range(5):
        sink.write(frame(index, size=(160, 120)), RESULT)
    monkeypatch.setattr("edgex_runtime.sinks.video.ROOM_BYTES", 1 << 60)
    with pytest.raises(BadInputError, match="left on the disk"):
        sink.write(frame(5, size=(160, 120)), RESULT)
    sink.close()
    assert len(video_frames(path)) == 5


def test_a_video_that_the_disk_did_not_take_is_no_video(tmp_path: Path, frame: MakeFrame) -> None:
    path = tmp_path / "out.avi"
    sink = open_sink(str(path), surroundings(FILE))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, before[1]))
    try:
        for index in range(20):
            sink.write(frame(index, size=(160, 120)), RESULT)
        with pytest.raises(BadInputError, match="File too large"):
            sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not path.exists()


def test_a_video_without_a_picture_is_not_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = open_sink(str(tmp_path / "out.mp4"), surroundings(LIVE))
    sink.write(None, STALE)
    sink.close()
    assert list(tmp_path.iterdir()) == []
    assert "no picture" in caplog.text


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("out.mp5", "did you mean '.mp4'"),
        ("displya://", "unknown kind of sink"),
        ("display://x", "nothing behind it"),
        ("/no/such/folder/out.mp4", "folder that exists"),
        ("/no/such/folder/out.jsonl", "cannot be written"),
        ("", "unknown kind of sink"),
    ],
)
def test_what_cannot_be_written_is_refused(uri: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        open_sink(uri, surroundings())


@pytest.mark.parametrize(
    ("uri", "vendor", "extra"),
    [("mqtt://broker/home", "paho", "mqtt"), ("metrics://:9100", "prometheus_client", "metrics")],
)
def test_a_sink_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, uri: str, vendor: str, extra: str
) -> None:
    for name in ("mqtt", "broker", "metrics"):
        monkeypatch.delitem(sys.modules, f"edgex_runtime.sinks.{name}", raising=False)
    for name in [name for name in sys.modules if name.startswith(f"{vendor}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, vendor, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'edgex\[{extra}\]'"):
        open_sink(uri, surroundings())


def test_the_page_of_sinks_names_every_one() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")
    schemes = [f"{key}://" if key.isidentifier() or "+" in key else key for key in SINKS]
    assert [scheme for scheme in schemes if scheme not in page] == []


def test_the_page_of_sinks_explains_every_field_of_a_line() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")
    line = json.loads(to_line(RESULT))
    summary = {one.name for one in (*fields(LiveSummary), *fields(SinkFigures))} - {"name"}
    wanted = {*line, *line["times"], *summary}
    assert [name for name in sorted(wanted) if f"`{name}`" not in page and f'"{name}"' not in page] == []


@pytest.mark.parametrize("background", [0, 128, 255])
@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (480, 640)])
def test_a_label_is_readable_on_light_and_dark(size: tuple[int, int], background: int) -> None:
    image = np.full((size[1], size[0], 3), background, dtype=np.uint8)
    drawn = Annotator().draw(image, RESULT)
    unlabelled = Annotator().draw(image, replace(RESULT, label=" "))
    row = np.abs(drawn.astype(int) - unlabelled).sum((1, 2)).nonzero()[0]
    line = drawn[row[0] : row[-1] + 1]
    ink, paper = float(line.max()), float(np.median(line))
    # WCAG 2.2, 1.4.3 asks for a contrast of 3 : 1 in large letters, by relative luminance.
    assert (_luminance(ink) + 0.05) / (_luminance(paper) + 0.05) > 3


def _luminance(grey: float) -> float:
    return float((grey / 255 / 1.055 + 0.0521) ** 2.4 if grey > 10 else grey / 255 / 12.92)


def test_the_score_bar_is_as_long_as_the_score() -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)

    def green(score: float) -> int:
        drawn = Annotator().draw(image, replace(RESULT, score=score)).astype(int)
        bar = drawn[400:]
        return int(((bar[..., 1] - bar[..., 0]) > 80).any(axis=0).sum())

    assert green(0.5) == pytest.approx(green(1.0) / 2, rel=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (48, 64), (3, 2000), (2000, 3)])
def test_even_a_tiny_picture_can_be_drawn_on(shape: tuple[int, int]) -> None:
    for result in (RESULT, STALE, FAILED):
        assert Annotator().draw(np.zeros((*shape, 3), dtype=np.uint8), result, title="front door").shape == (*shape, 3)


@pytest.mark.parametrize("pen", [OpenCvPen(), PillowPen()], ids=["opencv", "pillow"])
def test_letters_of_each_pen_fit_the_room_they_are_given(pen: Pen) -> None:
    letters = Lettering(pen)
    whole = letters.render("water bottle", 24, 1000)
    assert 90 < whole.shape[1] < 200
    assert whole.max() == 255
    cut = letters.render("water bottle", 24, 80)
    assert 40 < cut.shape[1] <= 80
    assert letters.render("water bottle", 24, 3).shape[1] <= 3
    assert letters.render("water bottle", 24, 1000) is whole


@pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV before 5 has no fonts of its own")
@pytest.mark.parametrize("word", ["żółw", "кот", "γάτα"])
def test_labels_beyond_ascii_are_written_in_their_own_letters(word: str) -> None:
    letters = Lettering()
    drawn = [letters.render(letter, 40, 1000) for letter in word]
    assert len({image.tobytes() for image in drawn}) == len(set(word))
    assert not any(np.array_equal(image, letters.render("\U0010ffff", 40, 1000)) for image in drawn)


def test_a_guess_is_drawn_as_unknown_with_a_bar_without_colour() -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    guess = Annotator().draw(image, replace(RESULT, known=False))
    unknown = Annotator().draw(image, replace(RESULT, label="unknown", known=False))
    assert np.array_equal(guess, unknown)
    bar = guess[440:].astype(int)
    assert int(np.abs(bar[..., 1] - bar[..., 0]).max()) < 40
    assert not np.array_equal(guess, Annotator().draw(image, RESULT))


def test_a_title_stays_in_the_left_half_however_long_it_is() -> None:
    image = np.full((360, 640, 3), 200, dtype=np.uint8)
    plain = Annotator().draw(image, RESULT)
    for title in ("door", "rtsp://camera.example/" * 9):
        changed = (Annotator().draw(image, RESULT, title=title) != plain).any(axis=2)
        assert changed.any()
        assert not changed[:, 320:].any()
        assert not changed[60:].any()


def test_a_picture_says_when_its_answer_was_used_again() -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    assert not np.array_equal(Annotator().draw(image, RESULT), Annotator().draw(image, replace(RESULT, reused=True)))


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
    assert "want an image" in stream.getvalue()


def test_a_label_cannot_command_the_terminal() -> None:
    sink, stream = terminal(LIVE, tty=False)
    sink.write(None, replace(RESULT, label="\x1b]0;owned\x07\n"))
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
