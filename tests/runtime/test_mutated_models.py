"""A damaged model file ends in an error of ours, or passes its self-test; `mutate_models.py` does the damage."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.metadata.registry import artifact_files, read_spec, write_spec
from edgex_runtime.selftest import record_golden
from edgex_runtime.spec import ModelSpec

SCRIPT = Path(__file__).with_name("mutate_models.py")
# Format → the fixtures of its files: what is damaged, and what pieces are spliced from.
FILES = {
    "onnx": ("tiny_onnx", "tiny_int8_onnx"),
    "openvino": ("tiny_openvino",),
    "tflite": ("tiny_int8_tflite", "tiny_tflite"),
    "safetensors": ("tiny_checkpoint",),
}
FOREIGN_SPEC = """
labels = ["a", "b", "c", "d", "e"]
output = "logits"
resize = { mode = "crop" }
input = { height = 32, width = 32, dtype = "uint8", layout = "NHWC", color = "RGB" }
"""
OUR_ERRORS = ("ModelFileError: ", "SpecError: ", "ContractMismatchError: ", "WeightsError: ", "BadInputError: ")
# Of a mutant on a busy machine: both ways of opening it, and up to two trials in processes of their own.
LONGEST_CPU_S = 10.0
LARGEST_MB = 1500


@pytest.fixture(params=FILES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sealed(kind: str, request: pytest.FixtureRequest, tmp_path: Path, tiny_spec: ModelSpec) -> Path:
    return copies(FILES[kind], request, tmp_path / "models", tiny_spec)


def copies(names: tuple[str, ...], request: pytest.FixtureRequest, folder: Path, spec: ModelSpec | None) -> Path:
    """The first of the files, all of them in one folder; with `spec`, as the converters leave them."""
    folder.mkdir()
    for name in names:
        source: Path = request.getfixturevalue(name)
        for file in artifact_files(source):
            shutil.copy(file, folder / file.name)
        if spec is not None:
            path = folder / source.name
            own = read_spec(path) or replace(spec, precision="int8" if "int8" in name else "fp32")
            write_spec(path, replace(own, golden=record_golden(open_engine(path, EngineOptions(threads=1)), own)))
    return folder / request.getfixturevalue(names[0]).name


def run(model: Path, spec: Path | None, count: int, seed: int) -> list[dict[str, Any]]:
    command = [sys.executable, str(SCRIPT), str(model), str(spec or "-"), str(count), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == count
    return results


def wrong(result: dict[str, Any]) -> bool:
    model = result.get("model", "")
    ours = model.startswith(OUR_ERRORS) or model in ("loaded", "loaded foreign")
    return (
        bool(result["died"])
        or not ours
        or result["inspect"] not in (0, 2, 4)
        or "Traceback" in result["stderr"]
        or result["cpu"] > LONGEST_CPU_S
        or result["peak_mb"] > LARGEST_MB
    )


def test_a_damaged_artifact_is_refused_or_right(sealed: Path) -> None:
    results = run(sealed, None, count=25, seed=1)
    assert [result for result in results if wrong(result)] == []
    # The damage is real, and some of it spares what matters.
    assert sum(result["model"] != "loaded" for result in results) > 12


def test_a_damaged_foreign_model_never_ends_the_process(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """TFLite: of the three parsers, the one that a damaged file was seen to crash."""
    spec = tmp_path / "spec.toml"
    spec.write_text(FOREIGN_SPEC)
    model = copies(FILES["tflite"], request, tmp_path / "models", None)
    assert [result for result in run(model, spec, count=6, seed=1) if wrong(result)] == []


@pytest.mark.slow
def test_a_thousand_damaged_artifacts_are_refused_or_right(sealed: Path) -> None:
    assert [result for result in run(sealed, None, count=1000, seed=2) if wrong(result)] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "openvino", "tflite"])
def test_a_thousand_damaged_foreign_models_are_refused_or_loaded(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(FOREIGN_SPEC)
    model = copies(FILES[kind], request, tmp_path / "models", None)
    assert [result for result in run(model, spec, count=1000, seed=3) if wrong(result)] == []
