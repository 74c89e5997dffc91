"""The window: stand-ins for its process that hang, die and press keys, and the real one on a real (virtual) screen."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgex_runtime.control import Control
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.sinks.display import DisplaySink
from edgex_runtime.sinks.mosaic import Mosaic
from edgex_runtime.sinks.registry import Surroundings, open_sink
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame, SourceInfo

ROOT = Path(__file__).resolve().parents[2]
CAMERA = SourceInfo(name="door", live=True, fps=30.0)
TIMEOUT_S = 20.0
RESULT = LiveResult(
    state=State.LIVE, name="door#1", at_ns=0, age_ms=30.0, dropped=0, index=1, label="cat", score=0.5, source="door"
)


def wait_for(condition: Callable[[], object]) -> None:
    late = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < late, "did not happen"
        time.sleep(0.01)


def picture(grey: int, size: tuple[int, int] = (64, 48)) -> Frame:
    image = np.full((size[1], size[0], 3), grey, dtype=np.uint8)
    return Frame(image=image, index=grey, captured_ns=0, name="door#1")


def window(program: str, control: Control | None = None, *arguments: str) -> DisplaySink:
    """A sink whose window is `program`."""
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the sink
    child = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    return DisplaySink(child, errors, control=control or Control(), sources=1)


def test_a_window_that_hangs_holds_up_neither_the_loop_nor_its_end() -> None:
    sink = window("import time; print('ready', flush=True); time.sleep(60)")
    start = time.perf_counter()
    for grey in range(50):
        # More than a pipe holds.
        sink.write(picture(grey, (640, 480)), RESULT)
    assert time.perf_counter() - start < 1
    start = time.perf_counter()
    sink.close()
    assert time.perf_counter() - start < 1.5


SLOW = """
import struct, sys, time
print("ready", flush=True)
while header := sys.stdin.buffer.read(8):
    width, height = struct.unpack("<II", header)
    if width:
        pixels = sys.stdin.buffer.read(width * height * 3)
        with open(sys.argv[1], "a") as file:
            file.write(f"{pixels[0]} {width} {height}\\n")
        time.sleep(0.1)
        print("ready", flush=True)
"""


def test_a_slow_window_gets_the_newest_picture_only(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    sink = window(SLOW, None, str(seen))
    for grey in range(1, 101):
        sink.write(picture(grey), RESULT)
        time.sleep(0.005)
    # The pixel at the top left is darkened by nothing that is drawn.
    wait_for(lambda: seen.exists() and seen.read_text().splitlines()[-1].startswith("100 "))
    sink.close()
    lines = [[int(word) for word in line.split()] for line in seen.read_text().splitlines()]
    greys = [line[0] for line in lines]
    assert 3 <= len(greys) <= 12
    assert greys == sorted(set(greys))
    assert all(line[1:] == [64, 48] for line in lines)


def test_keys_pause_resume_and_end_the_run() -> None:
    control = Control()
    program = """
import sys, time
for word in ("ready", "pause"):
    print(word, flush=True)
# The parent says that the run is paused: width 0, height 1.
while sys.stdin.buffer.read(8) != bytes([0, 0, 0, 0, 1, 0, 0, 0]):
    pass
print("pause", flush=True)
while sys.stdin.buffer.read(8) != bytes(8):
    pass
print("stop", flush=True)
"""
    sink = window(program, control)
    wait_for(lambda: control.is_stopped)
    assert not control.is_paused
    sink.write(picture(1), RESULT)
    sink.close()


def test_a_window_that_cannot_be_opened_ends_the_run_with_its_reason() -> None:
    sink = window("import sys; sys.exit('could not connect to display :7')")
    with pytest.raises(BadInputError, match="cannot be opened: could not connect to display :7"):  # noqa: PT012
        for _ in range(1000):
            sink.write(picture(1), RESULT)
            time.sleep(0.01)
    with pytest.raises(BadInputError, match="cannot be opened"):
        sink.close()
    sink.close()


def test_a_window_that_is_lost_does_not_end_the_run(caplog: pytest.LogCaptureFixture) -> None:
    sink = window("import sys; print('ready', flush=True); sys.exit(1)")
    wait_for(lambda: "was lost" in caplog.text)
    sink.write(picture(1), RESULT)
    sink.close()
    assert caplog.text.count("was lost") == 1


def test_without_a_display_it_says_what_to_take_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(BadInputError, match=r"no display here.*terminal"):
        open_sink("display://", Surroundings(source=CAMERA))


@pytest.mark.skipif(bool(cv2.currentUIFramework()), reason="this OpenCV has windows")
def test_an_opencv_without_windows_says_how_to_get_one_that_has_them() -> None:
    with pytest.raises(BadInputError, match="pip uninstall -y opencv-python-headless"):
        open_sink("display://", Surroundings(source=CAMERA))


def test_each_of_several_sources_has_its_place() -> None:
    mosaic = Mosaic(3)
    for grey, source in ((50, "a"), (100, "b"), (150, "c"), (200, "a")):
        result = replace(RESULT, source=source)
        whole = mosaic.put(source, mosaic.canvas(picture(grey, (320, 180)), result))
    assert whole.shape == (720, 1280, 3)
    assert [int(whole[y, x, 0]) for y, x in ((180, 320), (180, 960), (540, 320), (540, 960))] == [200, 100, 150, 0]
    told = replace(RESULT, source="b", index=None, state=State.STALE)
    assert int(mosaic.canvas(None, told)[180, 320, 0]) == 100


PROGRAM = """
import sys, time
import numpy as np
from edgex_runtime.control import Control
from edgex_runtime.freshness import State
from edgex_runtime.sinks.registry import Surroundings, open_queued
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame, SourceInfo

control = Control()
source = SourceInfo(name="door", live=True, fps=30.0)
sink = open_queued("display://", Surroundings(source=source, control=control))
image = np.zeros((240, 320, 3), np.uint8)
image[:] = (200, 30, 90)
paused = None
for index in range(2000):
    if control.is_stopped:
        break
    if control.is_paused != paused:
        paused = control.is_paused
        print("paused" if paused else "running", flush=True)
    sink.write(
        Frame(image=image, index=index, captured_ns=0, name="x"),
        LiveResult(state=State.LIVE, name="x", at_ns=0, age_ms=30.0, dropped=0, index=index, label="cat", score=0.5),
    )
    time.sleep(0.02)
print("stopped" if control.is_stopped else "late", flush=True)
sink.close()
print("closed", flush=True)
"""


class Screen:
    """A virtual X screen whose pixels can be read and whose keys can be pressed."""

    def __init__(self, folder: Path) -> None:
        command = ["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24", "-fbdir", str(folder), "-nolisten", "tcp"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        self.environ = {**os.environ, "DISPLAY": f":{self.process.stdout.readline().decode().strip()}"}
        self.buffer = folder / "Xvfb_screen0"

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=TIMEOUT_S)

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB, from the X window dump that Xvfb keeps."""
        data = self.buffer.read_bytes()
        head = struct.unpack(">20I", data[:80])
        start, width, height, pixel, line, colors = head[0], head[4], head[5], head[11] // 8, head[12], head[19]
        rows = np.frombuffer(data, np.uint8, line * height, start + 12 * colors).reshape(height, line)
        return rows[:, : width * pixel].reshape(height, width, pixel)[..., 2::-1]

    def do(self, *words: str) -> str:
        done = subprocess.run(["xdotool", *words], env=self.environ, capture_output=True, text=True, timeout=TIMEOUT_S)
        return done.stdout.strip()


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    for program, package in (("Xvfb", "xvfb"), ("xdotool", "xdotool")):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: apt-get install {package}")
    screen = Screen(tmp_path)
    yield screen
    screen.close()


@pytest.fixture
def windowed_python() -> str:
    """An interpreter whose OpenCV opens windows; ours must not have one (see docs/sinks.md)."""
    named = os.environ.get("EDGEX_WINDOW_PYTHON", str(ROOT / ".venv-window" / "bin" / "python"))
    if not Path(named).is_file():
        pytest.skip(f"no environment with an OpenCV that opens windows at {named}: `make test-interop` makes it")
    return named


def is_red(pixel: NDArray[np.uint8]) -> bool:
    return bool(np.abs(pixel.astype(int) - (200, 30, 90)).max() < 12)


@pytest.mark.interop
def test_a_real_window_shows_pauses_keeps_its_shape_and_ends_the_run(screen: Screen, windowed_python: str) -> None:
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "runtime"))
    environ = {**screen.environ, "PYTHONPATH": paths}
    command = [windowed_python, "-c", PROGRAM]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "running\n"
        wait_for(lambda: screen.do("search", "--name", "^edgex$") and is_red(screen.pixels()[100, 100]))
        identity = screen.do("search", "--name", "^edgex$").split()[0]
        # A window of 600×240 has room at the sides of a picture of 320×240: of 140 pixels each.
        screen.do("windowsize", "--sync", identity, "600", "240")
        wait_for(lambda: not is_red(screen.pixels()[100, 100]) and is_red(screen.pixels()[100, 300]))
        row = screen.pixels()[100, :600]
        assert sum(is_red(pixel) for pixel in row) == pytest.approx(320, abs=8)
        screen.do("windowfocus", "--sync", identity)
        screen.do("key", "space")
        assert run.stdout.readline() == "paused\n"
        wait_for(lambda: "paused" in screen.do("getwindowname", identity))
        screen.do("key", "space")
        assert run.stdout.readline() == "running\n"
        screen.do("key", "Escape")
        assert run.stdout.readline() == "stopped\n"
        assert run.stdout.readline() == "closed\n"
        assert run.wait(TIMEOUT_S) == 0


@pytest.mark.interop
def test_a_display_that_is_not_there_ends_the_run_with_its_reason(windowed_python: str) -> None:
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "runtime"))
    environ = {**os.environ, "PYTHONPATH": paths, "DISPLAY": ":4711"}
    command = [windowed_python, "-c", PROGRAM]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "the window cannot be opened: qt.qpa.xcb: could not connect" in done.stderr.splitlines()[-1]
