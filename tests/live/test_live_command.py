"""`edgex live`, as it is typed: a real process, real signals, real files."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

EDGEX = [sys.executable, "-m", "edgex", "live"]
TIMEOUT_S = 60


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A contract without tensors, which the fake engine runs."""
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "model.safetensors"
    header = b"{}      "
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    labels = ("circle", "square", "star")
    write_spec(
        path, ModelSpec(name="tiny", labels=labels, input=InputSpec(height=16, width=16), resize=Resize(mode="stretch"))
    )
    return path


@pytest.fixture
def live(model_file: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [*EDGEX, str(model_file), *args, "--engine", "fake"]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    return run


def test_json_lines_on_stdout_and_talk_on_stderr(live: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = live("test://shapes?frames=12&size=64x48&fps=200", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    frames, summary = [line for line in lines if line["kind"] == "frame"], lines[-1]
    assert {line["schema"] for line in lines} == {1}
    assert all(frame["label"] in ("circle", "square", "star") for frame in frames)
    assert summary["kind"] == "summary"
    assert summary["state"] == "ENDED"
    assert summary["classified"] == len(frames) >= 1
    assert "frames classified" in done.stderr
    assert "tiny by fake 1 on cpu" in done.stderr


def test_a_video_goes_to_every_sink_frame_by_frame(
    live: Callable[..., subprocess.CompletedProcess[str]], bar_video: Callable[..., Path], tmp_path: Path
) -> None:
    out, log = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    done = live(str(bar_video(frames=30)), "--out", str(out), "--out", str(log), "--out", "-")
    assert done.returncode == 0, done.stderr
    assert log.read_text() == done.stdout
    assert [json.loads(line)["index"] for line in done.stdout.splitlines()] == list(range(30))
    capture = cv2.VideoCapture(str(out), cv2.CAP_FFMPEG)
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == 30


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_a_run_cleanly_with_its_summary_and_a_playable_video(
    model_file: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "out.mp4"
    command = [
        *EDGEX,
        str(model_file),
        "test://shapes?size=160x120&fps=50",
        "--engine",
        "fake",
        "--json",
        "-o",
        str(out),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        killer = threading.Timer(TIMEOUT_S, process.kill)
        killer.start()
        assert process.stdout is not None
        for _ in range(10):
            process.stdout.readline()
        process.send_signal(number)
        stdout, stderr = process.communicate()
        killer.cancel()
        killer.join()
    assert process.returncode == code, stderr
    summary = json.loads(stdout.splitlines()[-1])
    assert (summary["kind"], summary["interrupted"]) == ("summary", True)
    assert "Traceback" not in stderr
    assert cv2.VideoCapture(str(out), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT) >= 5


def test_a_reader_who_leaves_ends_the_run_quietly(model_file: Path) -> None:
    command = [*EDGEX, str(model_file), "test://shapes?size=64x48&fps=100", "--engine", "fake", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read()
        assert process.wait(TIMEOUT_S) == 0
    assert "Traceback" not in stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="wants Linux's /dev/full")
def test_a_full_disk_behind_stdout_is_told_once(model_file: Path) -> None:
    command = [*EDGEX, str(model_file), "test://shapes?size=64x48&fps=100", "--engine", "fake", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("No space left on device") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.path.exists("/dev/video9"), reason="this machine has ten cameras")  # noqa: PTH110
def test_without_a_camera_the_exit_code_says_that_the_source_is_not_there(
    live: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = live("9")
    assert done.returncode == 7
    assert "/dev/video9: no such camera" in done.stderr
    assert "Traceback" not in done.stderr
    assert "VIDEOIO" not in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["test://shapes?fsp=3"], 2, "did you mean 'fps'"),
        (["test://shapes", "--out", "out.mp5"], 2, "did you mean '.mp4'"),
        (["test://shapes", "--device", "gpu"], 6, "gpu"),
        (["test://shapes", "--require-device"], 2, "add --device"),
        (["test://shapes", "--max-frames", "0"], 2, "max-frames"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_code(
    live: Callable[..., subprocess.CompletedProcess[str]], args: list[str], code: int, message: str
) -> None:
    done = live(*args)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_device_that_was_required_is_held_to_what_the_engine_reports(
    live: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    assert live("test://shapes?frames=3&fps=100", "--device", "cpu", "--require-device").returncode == 0


def test_a_folder_is_shown_line_by_line_and_its_unreadable_pictures_are_counted(
    live: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), cv2.UMat(20, 20, cv2.CV_8UC3).get())
    (folder / "b.png").write_bytes(b"no picture")
    done = live(str(folder))
    assert done.returncode == 0
    assert done.stdout == ""
    assert "a.png" in done.stderr
    assert "not read" in done.stderr
    assert "1 could not be read" in done.stderr


def test_raw_pictures_on_stdin_are_a_source_as_the_help_says(model_file: Path) -> None:
    command = [*EDGEX, str(model_file), "-?size=32x24", "--engine", "fake", "--json"]
    done = subprocess.run(command, input=bytes(32 * 24 * 3 * 4), capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["index"] for line in lines if line["kind"] == "frame"] == [0, 1, 2, 3]


def test_several_sources_take_turns_and_calm_answers_are_told(
    live: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    camera = "test://shapes?size=64x48&fps=50&frames=60&seed="
    calm = ("--smooth", "0.3", "--hysteresis", "0.1", "--unknown-below", "0.9", "--debounce", "0", "--motion", "6")
    done = live(camera + "1", camera + "2", "--json", "--reconnect", "forever", *calm)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    frames = [line for line in lines if line["kind"] == "frame"]
    assert len({line["index"] for line in frames}) < len(frames)
    assert all(isinstance(line["known"], bool) for line in frames)
    assert [sink["name"] for sink in lines[-1]["sinks"]] == ["-"]


def test_several_sources_stand_beside_each_other_in_a_video(
    live: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    done = live(
        "test://shapes?size=96x64&fps=50&frames=30",
        "test://shapes?size=96x64&fps=50&frames=30&seed=1",
        "--out",
        str(out),
    )
    assert done.returncode == 0, done.stderr
    read, picture = cv2.VideoCapture(str(out), cv2.CAP_FFMPEG).read()
    assert read
    assert picture.shape[1] > picture.shape[0] * 1.5


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--reconnect", "soon"], "want seconds, 0 or more, or forever, got 'soon'"),
        (["--hysteresis", "2"], "2.0 is not in the range 0<=x<=1"),
        (
            ["--smooth", "1"],
            "photos: single pictures, each with an answer of its own: leave out smoothing (--smooth), or take a camera",
        ),
    ],
)
def test_what_cannot_be_is_told(
    live: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, typed: list[str], said: str
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "a.png"), cv2.UMat(32, 32, cv2.CV_8UC3).get())
    done = live(str(photos), *typed)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_a_model_is_loaded_once(live: Callable[..., subprocess.CompletedProcess[str]], model_file: Path) -> None:
    done = live("test://shapes?frames=1", "--also", str(model_file))
    assert done.returncode == 2
    assert "a model file of that name is loaded already" in done.stderr


def test_of_a_broker_that_never_came_the_summary_says_that_nothing_was_delivered(
    live: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    pytest.importorskip("paho")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = live("test://shapes?frames=12&size=64x48&fps=200", "--json", "--out", f"mqtt://127.0.0.1:{port}/home")
    assert done.returncode == 0, done.stderr
    assert f"mqtt://127.0.0.1:{port}/home: took" in done.stderr
    assert "delivered none of its messages" in done.stderr
    figures = {one["name"]: one for one in json.loads(done.stdout.splitlines()[-1])["sinks"]}
    assert figures[f"mqtt://127.0.0.1:{port}/home"]["delivered"] == 0
    assert figures["-"]["delivered"] is None
