"""`edgex live … --out http://…`, as it is typed: a real process, a real signal, a viewer who is connected."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

TIMEOUT_S = 60


def command(model: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "edgex", "live", str(model), *arguments, "--engine", "fake"]


def test_ctrl_c_ends_a_run_that_is_watched_within_two_seconds(bare_model: Callable[..., Path], tmp_path: Path) -> None:
    model = bare_model(tmp_path / "tiny.safetensors")
    typed = command(model, "test://shapes?size=160x120&fps=20", "--out", "http://127.0.0.1:0")
    with subprocess.Popen(typed, stderr=subprocess.PIPE, text=True) as process:
        killer = threading.Timer(TIMEOUT_S, process.kill)
        killer.start()
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        port = next(found[1] for line in lines if (found := re.search(r"console: http://127\.0\.0\.1:(\d+)/", line)))
        with connect(f"ws://127.0.0.1:{port}/live", origin=f"http://127.0.0.1:{port}") as viewer:
            assert '"hello"' in viewer.recv(timeout=10)
            assert isinstance(viewer.recv(timeout=10), bytes)
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            with contextlib.suppress(ConnectionClosed):
                while True:
                    viewer.recv(timeout=10)
            assert (viewer.close_code, viewer.close_reason) == (1001, "the run has ended")
            assert time.monotonic() - began < 2
        rest = process.stderr.read()
        assert process.wait() == 130
        killer.cancel()
    assert "frames classified" in rest
    assert "Traceback" not in rest


def test_a_browsers_camera_without_a_console_is_told_what_to_add(
    bare_model: Callable[..., Path], tmp_path: Path
) -> None:
    typed = command(bare_model(tmp_path / "tiny.safetensors"), "browser://")
    done = subprocess.run(typed, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 2, done.stderr
    assert "add --out http://127.0.0.1:8080" in done.stderr
