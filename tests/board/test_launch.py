"""What the agent starts, and what it believes of it: what the app may write is not to be trusted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgex_devices.agent.config import CONFIG, AppConfig
from edgex_devices.agent.health import read_health
from edgex_devices.agent.store import INSTALLED, Store
from edgex_devices.agent_zip import agent_zip

GOOD = {"pid": 1, "started_ns": 2, "at_ns": 3, "frames": 4, "state": "LIVE", "age_ms": 5.0, "label": None}


def installed(root: Path) -> Store:
    """An app's folder with one release, whose environment holds one module: `edgex`, which says that it was signed."""
    store = Store(root)
    release = store.release("r1")
    release.mkdir(parents=True)
    (release / CONFIG).write_bytes(AppConfig(model="model/a.onnx", source="0", python="3").to_json())
    (release / INSTALLED).write_text(json.dumps({"env": "e1"}))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", store.envs / "e1"], check=True)
    (site,) = (store.envs / "e1").glob("lib/python*/site-packages")
    (site / "edgex.py").write_text("print('signed')")
    store.switch("r1", lambda _: None)
    (root / "service").write_text("process")
    (root / "run").mkdir()
    (release / "agent.pyz").write_bytes(agent_zip())
    return store


def test_nothing_is_imported_from_where_the_app_may_write(tmp_path: Path) -> None:
    store = installed(tmp_path / "app")
    state = tmp_path / "state"
    state.mkdir()
    (state / "edgex.py").write_text("print('planted')")
    environment = {**os.environ, "PYTHONPATH": str(state)}
    agent = [sys.executable, "-I", store.agent, "exec", store.root]
    done = subprocess.run(agent, cwd=state, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "signed\n"


def test_reads_what_the_watchdog_writes(tmp_path: Path) -> None:
    file = tmp_path / "health.json"
    file.write_text(json.dumps(GOOD))
    assert read_health(file) == GOOD


@pytest.mark.parametrize("record", [[], 7, {**GOOD, "at_ns": "soon"}, {**GOOD, "state": None}, {"pid": 1}])
def test_what_no_watchdog_writes_is_no_health(tmp_path: Path, record: object) -> None:
    file = tmp_path / "health.json"
    file.write_text(json.dumps(record))
    assert read_health(file) is None


def test_a_pipe_or_a_link_in_the_place_of_the_health_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "true.json").write_text(json.dumps(GOOD))
    (tmp_path / "link").symlink_to(tmp_path / "true.json")
    assert read_health(tmp_path / "pipe") is None
    assert read_health(tmp_path / "link") is None
