"""However a source waits, a run that is told to end does so within two seconds."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from camera_server import Answer, pictures, serve

from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

TIMEOUT_S = 60
ENDS_WITHIN_S = 2.0


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A contract without tensors, which the fake engine runs."""
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "model.safetensors"
    header = b"{}      "
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    spec = ModelSpec(
        name="tiny", labels=("a", "b"), input=InputSpec(height=16, width=16), resize=Resize(mode="stretch")
    )
    write_spec(path, spec)
    return path


@contextmanager
def stalled_http() -> Iterator[str]:
    pytest.importorskip("simplejpeg", reason="pip install 'edgex[jpeg]'")
    over = threading.Event()

    def body() -> Iterator[bytes]:
        yield from pictures(5)()
        over.wait(TIMEOUT_S)

    with serve(lambda _: Answer(body=body)) as camera:
        yield f"{camera.url}/video#timeout=50s"
        over.set()


@contextmanager
def nothing_new() -> Iterator[str]:
    """A camera that is lost and opened again and again, and shows the same picture each time."""
    pytest.importorskip("simplejpeg", reason="pip install 'edgex[jpeg]'")
    with serve(lambda _: Answer(body=pictures(5))) as camera:
        yield f"{camera.url}/video"


@contextmanager
def slow_pipeline() -> Iterator[str]:
    if shutil.which("gst-launch-1.0") is None:
        pytest.skip("wants GStreamer: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-{base,good,bad}")
    yield "gst:videotestsrc is-live=true ! video/x-raw,framerate=1/8"


@contextmanager
def waiting_pattern() -> Iterator[str]:
    yield "test://shapes?size=64x48&fps=0.05"


@pytest.mark.parametrize("source", [stalled_http, nothing_new, slow_pipeline, waiting_pattern])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_whose_source_waits(model_file: Path, source: Callable[..., object], number: int) -> None:
    with source() as uri:  # type: ignore[attr-defined]
        command = [sys.executable, "-m", "edgex", "live", str(model_file), uri, "--engine", "fake", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            killer = threading.Timer(TIMEOUT_S, process.kill)
            killer.start()
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.3)
            started = time.monotonic()
            process.send_signal(number)
            stdout, stderr = process.communicate()
            took_s = time.monotonic() - started
            killer.cancel()
            killer.join()
    assert took_s < ENDS_WITHIN_S, stderr
    assert '"kind": "summary"' in stdout
    assert "Traceback" not in stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_a_command_whose_camera_does_not_answer(model_file: Path, number: int, code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as camera:
        camera.settimeout(TIMEOUT_S)
        uri = f"rtsp://me:s3cret@127.0.0.1:{camera.getsockname()[1]}/1#timeout=50s"
        command = [sys.executable, "-m", "edgex", "live", str(model_file), uri, "--engine", "fake"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = camera.accept()
            with connection:
                started = time.monotonic()
                process.send_signal(number)
                _, stderr = process.communicate(timeout=TIMEOUT_S)
                took_s = time.monotonic() - started
    assert took_s < ENDS_WITHIN_S, stderr
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr


TAKES_CTRL_C = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
SWALLOWS_CTRL_C = (
    "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException: pass\nraise ImportError\n"
)


@pytest.mark.parametrize("code", [TAKES_CTRL_C, SWALLOWS_CTRL_C])
@pytest.mark.parametrize("module", ["click", "numpy", "cv2", "ai_edge_litert"])
def test_ctrl_c_while_the_program_is_imported_ends_it_at_once_and_without_a_word(
    tmp_path: Path, module: str, code: str
) -> None:
    (tmp_path / f"{module}.py").write_text(code)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    # As an installed program begins, also where the tests run in the background, which ignores Ctrl-C.
    begin = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from edgex.program import main\nsys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", begin, "live", "nothing.tflite", "test://shapes"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_what_ignores_ctrl_c_goes_on_doing_so(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise SystemExit(7)\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    begin = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from edgex.program import main\nsys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", begin, "live", "nothing.tflite", "test://shapes"],
        env={**os.environ, "PYTHONPATH": path},
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 7
