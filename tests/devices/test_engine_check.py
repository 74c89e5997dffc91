import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgex_devices import engine_check
from edgex_devices.engine_check import RUNS, EngineRun, parse_runs, run_all, run_here
from edgex_runtime.engines.registry import ENGINES, Entry
from edgex_runtime.errors import SpecError
from edgex_runtime.metadata.registry import check_seal, read_spec, write_spec
from edgex_runtime.model import Model
from edgex_runtime.spec import Golden, GoldenSample

TINY = Path(engine_check.__file__).with_name("tiny")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))


def test_every_engine_runs_its_tiny_models_here_and_is_right() -> None:
    runs = run_all()
    assert [(run.engine, run.device, run.model) for run in runs] == list(RUNS)
    for run in runs:
        if run.device == "cpu":
            assert (run.verdict, run.ran_on, run.why) == ("right", "cpu", "")
            assert run.version
            assert run.ms > 0


@pytest.mark.parametrize("path", sorted(path for path in TINY.iterdir() if path.suffix != ".bin"), ids=lambda p: p.name)
def test_the_tiny_models_are_sealed(path: Path) -> None:
    assert check_seal(path)
    spec = read_spec(path)
    assert spec is not None
    assert spec.golden is not None
    assert spec.precision == ("int8" if "int8" in path.name else "fp32")


def test_an_engine_that_is_not_installed_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Entry("no_such_vendor:Engine", extra="onnx", vendors=("no_such_vendor",), suffixes=(".onnx",))
    monkeypatch.setitem(ENGINES, "onnxruntime", row)
    run = run_here("onnxruntime", "cpu", "tiny.onnx")
    assert (run.verdict, run.why) == ("absent", "engine 'onnxruntime' is not installed: pip install 'edgex[onnx]'")


def test_a_device_that_is_not_there_is_unavailable() -> None:
    run = run_here("tflite", "npu", "tiny.tflite")
    assert (run.verdict, run.ran_on) == ("unavailable", "")
    assert "cpu only" in run.why


def test_answers_that_differ_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "tiny.onnx"
    copy.write_bytes((TINY / "tiny.onnx").read_bytes())
    spec = read_spec(copy)
    assert spec is not None
    assert spec.golden is not None
    samples = tuple(
        GoldenSample(image=item.image, input_sha256=item.input_sha256, logits=tuple(x + 1.0 for x in item.logits))
        for item in spec.golden.samples
    )
    golden = Golden(samples=samples, tolerance=spec.golden.tolerance, labels_sha256=spec.golden.labels_sha256)
    write_spec(copy, replace(spec, golden=golden))
    monkeypatch.setattr(engine_check, "_MODELS", tmp_path)
    assert run_here("onnxruntime", "cpu", "tiny.onnx").verdict == "wrong"


def test_a_self_test_that_is_remembered_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine answers otherwise than at its first, remembered self-test: an upgrade of a driver, say."""
    assert run_here("onnxruntime", "cpu", "tiny.onnx").verdict == "right"
    true_logits = Model.logits
    monkeypatch.setattr(Model, "logits", lambda self, images: true_logits(self, images) + 1)
    run = run_here("onnxruntime", "cpu", "tiny.onnx")
    assert (run.verdict, run.why[:13]) == ("wrong", "a logit is 1 ")


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "wants instructions that this CPU lacks (SIGILL)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it crashes (SIGSEGV)"),
        ("raise SystemExit('no libgomp')", "no libgomp"),
    ],
)
def test_an_engine_that_ends_its_process_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str, why: str
) -> None:
    """A vendor's module whose import ends the process, as a wheel for another CPU does."""
    (tmp_path / "onnxruntime.py").write_text(ends)
    monkeypatch.syspath_prepend(tmp_path)
    run = engine_check._apart("onnxruntime", "cpu", "tiny.onnx")
    assert run.verdict == "failed"
    assert why in run.why


@pytest.mark.parametrize("text", ["", "Segmentation fault", "[1, 2", '{"verdict": "right"}', '[{"engin": "x"}]'])
def test_what_is_no_list_of_runs_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="pi"):
        parse_runs(text, where="pi")


def test_as_a_program_it_prints_runs_in_its_last_line() -> None:
    command = [sys.executable, "-m", "edgex_devices.engine_check", "tflite", "cpu", "tiny.tflite"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (run,) = parse_runs(done.stdout, where="here")
    assert isinstance(run, EngineRun)
    assert json.loads(done.stdout.splitlines()[-1])[0]["verdict"] == "right"
