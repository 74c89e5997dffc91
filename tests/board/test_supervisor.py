"""`agent.pyz run`, where there is no systemd: restarts with backoff, a watchdog, a small log, a quick end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from waiting import eventually

from edgex_devices.agent.config import Health
from edgex_devices.agent.launch import MAX_BACKOFF_S, _backoff_s, forget_starts

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler, Deployer

STRICT = Health(start_s=5, window_s=0.1, max_age_ms=500, watchdog_s=1)


@pytest.fixture
def running(board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer") -> "BoardFolder":
    assert deploy_to(board, make_light("a", health=STRICT)).outcome == "deployed"
    return board


def test_an_app_that_hangs_is_killed_and_started_again(running: "BoardFolder") -> None:
    pid = running.health()["pid"]
    os.kill(pid, signal.SIGSTOP)
    assert eventually(lambda: running.health()["pid"] != pid)


def test_an_app_that_dies_is_started_again(running: "BoardFolder") -> None:
    pid = running.health()["pid"]
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: running.health()["pid"] != pid)


def test_ends_within_two_seconds_and_leaves_nothing_behind(running: "BoardFolder") -> None:
    pid = running.health()["pid"]
    started = time.monotonic()
    running.stop()
    assert time.monotonic() - started < 2
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_its_log_stays_small(running: "BoardFolder") -> None:
    log = running.root / "run" / "log"
    with log.open("ab") as file:
        file.write(b"line\n" * 300_000)
    assert eventually(lambda: log.stat().st_size < 1 << 20)


def test_starts_in_quick_succession_wait_ever_longer(tmp_path: Path) -> None:
    waits = [_backoff_s(tmp_path) for _ in range(9)]
    assert waits == [0, 1, 2, 4, 8, 16, 32, MAX_BACKOFF_S, MAX_BACKOFF_S]
    forget_starts(tmp_path)
    assert _backoff_s(tmp_path) == 0


def test_a_supervisor_that_is_stopped_right_after_its_start_is_found(running: "BoardFolder") -> None:
    name = running.serving
    assert name is not None
    code = (
        "import sys\nfrom pathlib import Path\nfrom edgex_devices.agent.service import Process\n"
        "from edgex_devices.agent.store import Store\nstore = Store(Path(sys.argv[1]))\n"
        "Process(store, 'light').start(store.release(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, running.root, name], check=True)
    running.stop()
    time.sleep(1)
    words = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in words if os.fsencode(running.root) in line]
