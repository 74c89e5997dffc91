"""`edgex live` runs a model as `edgex tune` found it to be fastest on this machine, unless it is told how."""

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from edgex_devices.tuning.candidate import Candidate
from edgex_devices.tuning.tuned import Tuned, machine_fingerprint, save_tuned
from edgex_runtime.metadata.registry import artifact_sha256


@pytest.fixture
def tuned_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real small model, and the record that two spinning threads suit it best."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))
    model = tmp_path / "tiny.onnx"
    model.write_bytes(files("edgex_devices").joinpath("tiny/tiny.onnx").read_bytes())
    save_tuned(
        Tuned(
            artifact=artifact_sha256(model),
            machine=machine_fingerprint(),
            best=Candidate(model=str(model), engine="onnxruntime", threads=2, spin=True),
            is_choice=True,
            table=(),
            wanted="nothing",
            date="2026-11-24T00:00:00+00:00",
        )
    )
    return model


def run_live(model: Path, *args: str) -> str:
    command = [sys.executable, "-m", "edgex", "live", str(model), "test://shapes?size=64x48&frames=3", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_says_that_it_runs_as_tuned(tuned_model: Path) -> None:
    assert "as tuned: tiny.onnx by onnxruntime on cpu, 2 threads, spinning" in run_live(tuned_model)


@pytest.mark.parametrize("typed", [["--threads", "1"], ["--device", "cpu"], ["--engine", "openvino"]])
def test_what_was_typed_wins(tuned_model: Path, typed: list[str]) -> None:
    assert "as tuned" not in run_live(tuned_model, *typed)


def test_another_file_is_not_run_as_this_one(tuned_model: Path) -> None:
    other = tuned_model.with_name("other.onnx")
    other.write_bytes(files("edgex_devices").joinpath("tiny/tiny-int8.onnx").read_bytes())
    assert "as tuned" not in run_live(other)
