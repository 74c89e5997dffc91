"""The annotated video: its rate, its pictures, and a disk that is full."""

import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sample_results import FAILED, FILE, FOLDER, LIVE, RESULT, STALE, surroundings

from edgex_runtime.errors import BadInputError
from edgex_runtime.sinks.registry import Surroundings, open_sink
from edgex_runtime.sources.source import Frame

MakeFrame = Callable[..., Frame]


def video_frames(path: Path) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames: list[NDArray[np.uint8]] = []
    while True:
        decoded, image = capture.read()
        if not decoded:
            capture.release()
            return frames
        frames.append(np.asarray(image, dtype=np.uint8))


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
