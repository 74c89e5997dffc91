"""Pictures of other programs: GStreamer pipelines, a board's camera program, a screen, and standard input."""

import io
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from camera_server import draw, read
from hypothesis import given, settings
from hypothesis import strategies as st

from edgex_runtime.capture import Capture, End
from edgex_runtime.clock import SystemClock
from edgex_runtime.errors import BadInputError, MissingExtraError, SourceLostError
from edgex_runtime.sources.csi import open_csi
from edgex_runtime.sources.raw import FORMATS, frame_bytes, to_rgb
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source
from edgex_runtime.sources.stdin import StdinOptions, StdinSource

TIMEOUT_S = 30.0
gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None,
    reason="wants GStreamer: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-{base,good,bad}",
)


def frames_of(source: Source) -> list[Frame]:
    frames = []
    while (item := source.read()) is not None:
        assert isinstance(item, Frame)
        frames.append(item)
    source.close()
    return frames


@gstreamer
def test_a_pipelines_pictures_arrive_and_its_end_is_the_end() -> None:
    # 318 x 3 is no multiple of four: GStreamer pads such rows.
    source = open_source("gst:videotestsrc num-buffers=5 pattern=red ! video/x-raw,width=318,height=100,framerate=20/1")
    assert source.info.live
    frames = frames_of(source)
    assert frames
    for frame in frames:
        assert frame.image.shape == (100, 318, 3)
        assert (np.abs(frame.image.astype(int) - [254, 0, 0]) <= 3).all()


@gstreamer
def test_a_pipeline_may_change_its_size_while_it_runs(tmp_path: Path) -> None:
    parts = " ".join(
        f"videotestsrc num-buffers=3 ! video/x-raw,width={width},height=64,framerate=10/1 ! c." for width in (64, 128)
    )
    frames = frames_of(open_source(f"gst:{parts} concat name=c ! identity sleep-time=30000"))
    assert {frame.image.shape for frame in frames} == {(64, 64, 3), (64, 128, 3)}


@gstreamer
@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("gst:nosuchelement", BadInputError, 'no element "nosuchelement"'),
        ("gst:videotestsrc ! audioconvert", BadInputError, "could not link"),
        ("gst:v4l2src device=/dev/video97", SourceLostError, "No such file"),
        ("gst:filesrc location=/no/such/file password=s3cret ! decodebin", BadInputError, "gave no picture"),
    ],
)
def test_a_pipeline_that_cannot_run_is_told_in_its_own_words(uri: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as refused:
        open_source(uri)
    assert "s3cret" not in str(refused.value)


@gstreamer
def test_a_pipeline_is_ended_with_the_run_and_nothing_of_it_stays() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    source = open_source("gst:videotestsrc is-live=true ! video/x-raw,width=64,height=64")
    process = source._process  # type: ignore[attr-defined]
    started = time.monotonic()
    with Capture(source, clock=SystemClock()) as capture:
        assert isinstance(capture.take(timeout_s=TIMEOUT_S), Frame)
    assert time.monotonic() - started < 2
    assert process.returncode is not None
    assert len(set(Path("/proc/self/fd").iterdir())) == len(before)


@gstreamer
def test_a_pipeline_that_is_killed_is_a_lost_source() -> None:
    source = open_source("gst:videotestsrc is-live=true ! video/x-raw,width=64,height=64")
    assert isinstance(source.read(), Frame)
    source._process.kill()  # type: ignore[attr-defined]
    with pytest.raises(SourceLostError, match="the program ended"):
        frames_of(source)
    source.close()


def test_without_gstreamer_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="apt-get install gstreamer1"):
        open_source("gst:videotestsrc")


RPICAM = """#!{python}
import sys
width, height = (int(sys.argv[sys.argv.index(name) + 1]) for name in ("--width", "--height"))
assert sys.argv[sys.argv.index("--camera") + 1] == "1" and "yuv420" in sys.argv
for number in range(3):
    sys.stdout.buffer.write(bytes([81]) * (width * height) + bytes([90]) * (width * height // 4))
    sys.stdout.buffer.write(bytes([240]) * (width * height // 4))
"""


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Raspberry Pi's device tree, and a camera program that writes three red pictures in its format."""
    program = tmp_path / "rpicam-vid"
    program.write_text(RPICAM.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    model = tmp_path / "model"
    model.write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    return model


def test_on_a_raspberry_pi_its_camera_program_is_run(pi: Path) -> None:
    frames = frames_of(open_csi("csi://1?size=128x96&fps=20", SystemClock(), device_tree=pi))
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert frames[0].name == "csi://1#0"
    assert frames[0].image.shape == (96, 128, 3)
    # BT.601's red is Y 81, U 90, V 240.
    assert (np.abs(frames[0].image.astype(int) - [254, 0, 0]) <= 4).all()


@pytest.mark.parametrize(
    ("uri", "board", "error", "words"),
    [
        ("csi://0?size=1000x720", "Raspberry Pi 4", BadInputError, "width that 64 divides"),
        ("csi://0", "Raspberry Pi 4", MissingExtraError, "apt-get install rpicam-apps"),
        ("csi://0", "NVIDIA Jetson Orin Nano", MissingExtraError, "gst-launch-1.0 is not installed"),
        ("csi://0", "Rockchip RK3588 EVB", BadInputError, "found 'Rockchip RK3588 EVB'"),
    ],
)
def test_without_the_boards_camera_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, board: str, error: type[Exception], words: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if "size" in uri:
        (tmp_path / "rpicam-vid").write_text("#!/bin/sh\n")
        (tmp_path / "rpicam-vid").chmod(0o755)
    model = tmp_path / "model"
    model.write_text(board)
    with pytest.raises(error, match=words):
        open_csi(uri, SystemClock(), device_tree=model)


@gstreamer
def test_on_a_jetson_its_own_element_is_asked_for(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_text("NVIDIA Jetson Orin Nano\0")
    with pytest.raises(BadInputError, match='no element "nvarguscamerasrc"'):
        open_csi("csi://0", SystemClock(), device_tree=model)


@pytest.fixture
def piped() -> Iterator[tuple[int, io.FileIO]]:
    reading, writing = os.pipe()
    with io.FileIO(reading, closefd=True), io.FileIO(writing, "w") as writer:
        yield reading, writer


def test_raw_pictures_arrive_in_order_until_the_writer_ends(piped: tuple[int, io.FileIO]) -> None:
    descriptor, writer = piped
    source = StdinSource(descriptor, StdinOptions(size=(32, 16)), clock=SystemClock())
    for number in (1, 2, 3):
        writer.write(draw(number, (32, 16)).tobytes())
    writer.close()
    frames = frames_of(source)
    assert [bool(frame.image.any()) for frame in frames] == [True] * 3
    assert [np.array_equal(frame.image, draw(n, (32, 16))) for n, frame in enumerate(frames, 1)] == [True] * 3
    assert source.read() is None


def test_a_short_last_picture_is_an_error_that_says_so(piped: tuple[int, io.FileIO]) -> None:
    descriptor, writer = piped
    source = StdinSource(descriptor, StdinOptions(size=(32, 16)), clock=SystemClock())
    writer.write(draw(1, (32, 16)).tobytes() + b"12345")
    writer.close()
    assert isinstance(source.read(), Frame)
    with pytest.raises(BadInputError, match=r"want pictures of 1536 bytes \(32x16 rgb24\), the last one has 5"):
        source.read()
    assert source.read() is None


def test_a_writer_that_waits_does_not_keep_a_run_from_ending(piped: tuple[int, io.FileIO]) -> None:
    source = StdinSource(piped[0], StdinOptions(size=(32, 16), live="yes"), clock=SystemClock())
    started = time.monotonic()
    with Capture(source, clock=SystemClock()) as capture:
        assert capture.take(timeout_s=0.01) is None
    assert time.monotonic() - started < 1
    assert capture.take(timeout_s=1) is End.END


def test_standard_input_is_read_by_its_name(tmp_path: Path) -> None:
    script = (
        "from edgex_runtime.sources.registry import open_source\n"
        "source = open_source('-?size=64x32&format=gray&fps=5')\n"
        "print(source.info.fps, [int(frame.image[0, 0, 0]) for frame in iter(source.read, None)])\n"
    )
    data = b"".join(bytes([value]) * 64 * 32 for value in (7, 8, 9))
    done = subprocess.run(
        [sys.executable, "-c", script], input=data, capture_output=True, timeout=TIMEOUT_S, check=True
    )
    assert done.stdout.decode().strip() == "5.0 [7, 8, 9]"


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.sampled_from(sorted(FORMATS)), st.integers(8, 40), st.integers(8, 40))
def test_every_pixel_format_gives_rgb_of_the_size_that_was_said(name: str, half_width: int, half_height: int) -> None:
    size = (2 * half_width, 2 * half_height)
    image = to_rgb(np.full(frame_bytes(name, size), 128, dtype=np.uint8), name, size)
    assert image.shape == (size[1], size[0], 3)
    assert image.flags.c_contiguous
    assert np.ptp(image.reshape(-1, 3), axis=0).max() == 0


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("mss", reason="pip install 'edgex[screen]'")
    if shutil.which("Xvfb") is None:
        pytest.skip("wants a display: apt-get install xvfb")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "320x200x24", "-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server, os.fdopen(reading) as said:
        os.close(writing)
        name = f":{said.readline().strip()}"
        monkeypatch.setenv("DISPLAY", name)
        yield name
        server.terminate()


def test_a_screen_is_looked_at(display: str) -> None:
    source = open_source("screen://1?fps=50")
    frames = [source.read() for _ in range(3)]
    source.close()
    assert all(isinstance(frame, Frame) and frame.image.shape == (200, 320, 3) for frame in frames)
    part = open_source("screen://?region=64x48,10,20")
    frame = part.read()
    assert isinstance(frame, Frame)
    assert frame.image.shape == (48, 64, 3)
    part.close()
    with pytest.raises(BadInputError, match="from 1 to 1"):
        open_source("screen://7")


def test_without_a_display_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mss", reason="pip install 'edgex[screen]'")
    monkeypatch.setenv("DISPLAY", ":97")
    with pytest.raises(SourceLostError, match="want a display"):
        open_source("screen://")


def test_the_bars_can_be_read() -> None:
    assert read(draw(4711)) == 4711
