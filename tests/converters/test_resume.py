"""A conversion goes on where an earlier one ended, however that ended, and comes to the same artifacts."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgex_converters import cache, work
from edgex_converters.pipeline import convert
from edgex_converters.processes import run_apart
from edgex_converters.recipes import STAGES
from edgex_converters.report.html import write_html
from edgex_converters.report.json import report_of
from edgex_converters.result import Conversion
from edgex_runtime.errors import MissingExtraError, StageError

STAGE = {stage.name: stage for stage in STAGES}


class Watcher:
    def begin(self, step: str) -> None: ...
    def advance(self, done: int, total: int) -> None: ...
    def finish(self, outcome: object) -> None: ...


def convert_again(made, out: Path, **changes) -> Conversion:
    return convert(made.source, replace(made.config, out=out, **changes), Watcher())


def run_steps(conversion: Conversion) -> list[str]:
    """What was not taken from the cache."""
    return [f"{o.target} {step.name}" for o in conversion.outcomes for step in o.steps if not step.cached]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def entries_of(step: str) -> list[cache.Entry]:
    return [entry for entry in cache.entries() if entry.manifest.step == step]


def test_an_unchanged_run_runs_nothing_and_touches_nothing(made) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.out.iterdir()}
    conversion = convert_again(made, made.out)
    assert run_steps(conversion) == []
    assert all(outcome.cached for outcome in conversion.outcomes)
    assert {path: path.stat().st_mtime_ns for path in made.out.iterdir()} == before
    for again, first in zip(conversion.outcomes, made.conversion.outcomes, strict=True):
        assert (again.measured, again.ms, again.evidence) == (first.measured, first.ms, first.evidence)
        np.testing.assert_array_equal(again.logits, first.logits)


def test_an_unchanged_run_imports_no_tool(made, tmp_path: Path) -> None:
    script = tmp_path / "again.py"
    script.write_text(_SCRIPT)
    heavy = ["torch", "onnx", "onnxruntime", "openvino", "nncf", "litert_torch", "ai_edge_litert", "ai_edge_quantizer"]
    done = subprocess.run([sys.executable, script, *arguments(made, tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["cached"] == [True] * 9
    assert not set(heavy) & set(answer["modules"])
    assert files(tmp_path / "out") == files(made.out), "the same artifacts, to the byte"


def test_the_report_says_what_came_from_the_cache(made, tmp_path: Path) -> None:
    conversion = convert_again(made, tmp_path)
    report = report_of(conversion, made.config)
    assert [step["cached"] for step in report["artifacts"][0]["steps"]] == [True, True, True]
    write_html(report, tmp_path / "report.html")
    assert "export_onnx from the cache" in (tmp_path / "report.html").read_text()


def test_another_gate_measures_nothing_again(made, tmp_path: Path) -> None:
    gates = replace(made.config.gates, int8_accuracy=0.998)
    conversion = convert_again(made, tmp_path, gates=gates, formats=("onnx",), precisions=("int8",))
    # The contract says another thing, so that it is written again; 240 photos cannot decide such a gate.
    assert [outcome.status for outcome in conversion.outcomes] == ["failed"]
    assert run_steps(conversion) == ["onnx int8 seal"]


def test_a_damaged_stage_is_made_again_and_nothing_else(made, tmp_path: Path) -> None:
    [damaged] = entries_of("half_onnx")
    path = damaged.folder / "model-fp16.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    conversion = convert_again(made, tmp_path)
    assert run_steps(conversion) == ["onnx fp16 half_onnx"]
    assert files(tmp_path) == files(made.out)


def test_without_the_cache_everything_is_made_anew_to_the_same_bytes(made, tmp_path: Path) -> None:
    number = len(cache.entries())
    conversion = convert_again(
        made, tmp_path, use_cache=False, formats=("onnx", "openvino"), precisions=("fp32",), calibration=None
    )
    assert len(run_steps(conversion)) == 6
    assert [(o.steps[0].name, o.steps[0].reproduced) for o in conversion.outcomes] == [
        ("export_onnx", True),
        ("export_openvino", True),
    ]
    assert len(cache.entries()) == number


def test_a_network_that_nothing_tells_apart_is_not_kept(made, tmp_path: Path) -> None:
    number = len(cache.entries())
    source = replace(made.source, network=made.source.network.get())
    config = replace(made.config, out=tmp_path, formats=("onnx",), precisions=("fp32",), calibration=None)
    assert len(run_steps(convert(source, config, Watcher()))) == 3
    assert len(cache.entries()) == number


def test_two_jobs_make_what_one_makes(made, tmp_path: Path) -> None:
    for entry in (*entries_of("half_onnx"), *entries_of("half_openvino")):
        (entry.folder / "manifest.json").write_text("damaged")
    conversion = convert_again(made, tmp_path, jobs=2)
    assert run_steps(conversion) == ["onnx fp16 half_onnx", "openvino fp16 half_openvino"]
    assert files(tmp_path) == files(made.out)


def test_a_process_that_dies_fails_its_own_step() -> None:
    with pytest.raises(StageError, match="ended with code -6 and no answer"):
        run_apart(os.abort)


def test_an_error_crosses_from_its_process(tmp_path: Path) -> None:
    stage = replace(STAGE["half_onnx"], entry="no_such_tool:run")
    with pytest.raises(MissingExtraError, match="needs 'no_such_tool'"):
        run_apart(work.load_tools, (stage,), tmp_path / "log")


def test_kill_9_at_any_moment_leaves_what_can_be_finished(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {step: entries_of(step)[0].digest for step in ("export_onnx", "half_onnx")}
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))
    out, script = tmp_path / "out", tmp_path / "again.py"
    script.write_text(_SCRIPT)
    command = [sys.executable, script, *arguments(made, out, "onnx", "fp32,fp16")]
    rng = np.random.default_rng(0)
    for entries in (0, 1, 3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            while process.poll() is None and len(cache.entries()) < entries:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 1.0))
            process.send_signal(signal.SIGKILL)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["cached"]) == 2
    assert {path.name for path in out.iterdir()} == {"colours-fp32.onnx", "colours-fp16.onnx"}
    assert not [path for path in cache.folder().iterdir() if path.name.startswith(".making-")]
    assert {e.manifest.step: e.digest for e in cache.entries() if e.manifest.step in wanted} == wanted


def arguments(made, out: Path, formats: str = "onnx,openvino,tflite", precisions: str = "fp32,fp16,int8") -> list[str]:
    return [str(made.checkpoint), str(made.photos), str(out), formats, precisions]


_SCRIPT = """
import json, sys
from pathlib import Path
from edgex.networks.source import Missing, resolve
from edgex_converters.config import ConvertConfig, QuantizeConfig
from edgex_converters.pipeline import convert

class Watcher:
    def begin(self, step): pass
    def advance(self, done, total): pass
    def finish(self, outcome): pass

if __name__ == "__main__":
    checkpoint, photos, out, formats, precisions = sys.argv[1:]
    config = ConvertConfig(
        name="colours", out=Path(out), evaluation=Path(photos, "val"), calibration=Path(photos, "train"),
        formats=tuple(formats.split(",")), precisions=tuple(precisions.split(",")),
        quantize=QuantizeConfig(calibration_images=32), threads=1, command="pytest",
    )
    conversion = convert(resolve(checkpoint, Missing()), config, Watcher())
    assert conversion.failure() is None
    print(json.dumps({"cached": [o.cached for o in conversion.outcomes], "modules": list(sys.modules)}))
"""
