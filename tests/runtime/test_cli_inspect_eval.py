import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from edgex.cli.main import edgex, exit_code
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import ENGINES, Entry, open_engine
from edgex_runtime.errors import BadInputError, ContractMismatchError, SpecError
from edgex_runtime.metadata.registry import artifact_sha256, write_spec
from edgex_runtime.schema import to_plain
from edgex_runtime.selftest import record_golden
from edgex_runtime.spec import DatasetRef, Evidence, ModelSpec, Provenance, Resize


def run(*arguments: object) -> Result:
    # Wide enough that no cell of a table is broken into lines.
    return CliRunner(env={"COLUMNS": "200"}).invoke(edgex, list(map(str, arguments)), standalone_mode=False)


@pytest.fixture
def sealed_spec(tiny_onnx: Path, tiny_spec: ModelSpec) -> ModelSpec:
    spec = replace(
        tiny_spec,
        provenance=Provenance(
            command="convert-model tiny.safetensors",
            tools={"onnxruntime": "1.32.0"},
            datasets=(DatasetRef(role="calibration", path="photos", count=96, fingerprint="f" * 64),),
        ),
        evidence=(
            Evidence(
                stage="export_onnx",
                metrics={"agreement": 1.0},
                images=551,
                fingerprint="f" * 64,
                gate="same top-1 on every image",
                passed=False,
                why="one of [551] differs",
            ),
        ),
    )
    return replace(spec, golden=record_golden(open_engine(tiny_onnx, EngineOptions(threads=1)), spec))


@pytest.fixture
def model(tmp_path: Path, tiny_onnx: Path, sealed_spec: ModelSpec) -> Path:
    path = Path(shutil.copy(tiny_onnx, tmp_path / "sealed.onnx"))
    write_spec(path, sealed_spec)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    for label in ("daisy", "tulip"):
        folder = tmp_path / "photos" / "val" / label
        folder.mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "photos"


def test_inspect_prints_contract_evidence_and_verdict(model: Path) -> None:
    result = run("inspect", model)
    assert result.exit_code == 0
    printed = " ".join(result.stdout.split())
    for text in ("rose of sharon", "uint8 NHWC RGB", "0.875", "inside the graph", "96 photos", "convert-model"):
        assert text in printed
    for text in ("export_onnx", "agreement 1", "551", "one of [551]", "passed"):
        assert text in printed


def test_inspect_as_json_says_everything(model: Path, sealed_spec: ModelSpec) -> None:
    answer = json.loads(run("inspect", model, "--json").stdout)
    assert answer["spec"] == to_plain(sealed_spec)
    assert answer["sha256"] == artifact_sha256(model)
    assert answer["size_bytes"] == model.stat().st_size
    assert answer["verdict"] == "passed"
    assert answer["engine"]["name"] == "onnxruntime"


def test_inspect_shows_a_contract_that_does_not_hold_and_fails(model: Path, sealed_spec: ModelSpec) -> None:
    write_spec(model, replace(sealed_spec, resize=Resize(mode="stretch")))
    result = run("inspect", model, "--json")
    answer = json.loads(result.stdout)
    assert (answer["verdict"], answer["field"]) == ("failed", "resize")
    assert isinstance(result.exception, ContractMismatchError)
    assert exit_code(result.exception) == 4


def test_inspect_works_without_the_engine(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Entry("no_such_vendor:Engine", extra="onnx", vendors=("no_such_vendor",), suffixes=(".onnx",))
    monkeypatch.setitem(ENGINES, "onnxruntime", row)
    answer = json.loads(run("inspect", model, "--json").stdout)
    assert answer["verdict"] == "not run"
    assert "pip install 'edgex[onnx]'" in answer["why"]


def test_inspect_of_a_foreign_model_asks_for_its_spec(tiny_onnx: Path) -> None:
    result = run("inspect", tiny_onnx)
    assert isinstance(result.exception, SpecError)
    assert "--spec" in str(result.exception)


def test_inspect_of_a_foreign_model_with_its_spec(tiny_onnx: Path, tmp_path: Path) -> None:
    toml = tmp_path / "spec.toml"
    toml.write_text('labels = ["a","b","c","d","e"]\noutput = "logits"\nresize.mode = "crop"\ninput.color = "RGB"\n')
    answer = json.loads(run("inspect", tiny_onnx, "--spec", toml, "--json").stdout)
    assert answer["verdict"] == "not run"
    assert answer["spec"]["labels"] == ["a", "b", "c", "d", "e"]


def test_inspect_takes_no_second_contract(model: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text("")
    assert isinstance(run("inspect", model, "--spec", tmp_path / "spec.toml").exception, BadInputError)


def test_eval_prints_figures_and_the_confusion_matrix(model: Path, photos: Path) -> None:
    result = run("eval", model, "--data", photos, "--threads", 1)
    assert result.exit_code == 0, result.exception
    assert "val/: measuring on that" in result.stderr
    assert "95 % interval" in result.stdout
    for text in ("8 photos", "top-1", "precision", "Confusion matrix", "daisy", "tulip"):
        assert text in result.stdout


def test_eval_as_json_says_everything(model: Path, photos: Path) -> None:
    answer = json.loads(run("eval", model, "--data", photos, "--json").stdout)
    assert answer["images"] == 8
    assert answer["data"]["photos"] == 8
    assert len(answer["data"]["fingerprint"]) == 64
    assert answer["top5"] is None
    assert sum(map(sum, answer["confusion"])) == 8
    assert 0 <= answer["top1"]["low"] <= answer["top1"]["value"] <= answer["top1"]["high"] <= 1


def test_eval_names_unreadable_photos_on_stderr(model: Path, photos: Path) -> None:
    broken = photos / "val" / "daisy" / "1.png"
    broken.write_bytes(b"text")
    result = run("eval", model, "--data", photos)
    assert "7 photos" in result.stdout
    assert f"left out, unreadable: {broken}" in result.stderr
    assert "1 of 8 photos" in result.stderr


def test_eval_takes_the_same_few_photos_every_time(model: Path, photos: Path) -> None:
    first, second = (json.loads(run("eval", model, "--data", photos, "--limit", 4, "--json").stdout) for _ in range(2))
    assert first["images"] == 4
    assert [score["support"] for score in first["classes"]] == [2, 0, 0, 0, 2]
    assert first["data"]["fingerprint"] == second["data"]["fingerprint"]


def test_eval_lists_mixups_where_a_matrix_would_not_fit(tmp_path: Path, tiny_fake: Path, tiny_spec: ModelSpec) -> None:
    labels = tuple(f"class {i:02}" for i in range(20))
    path = Path(shutil.copy(tiny_fake, tmp_path / "many.safetensors"))
    write_spec(path, replace(tiny_spec, labels=labels))
    rng = np.random.default_rng(3)
    for label in labels:
        (tmp_path / "many" / label).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "many" / label / "0.png")
    result = run("eval", path, "--data", tmp_path / "many", "--engine", "fake")
    assert "Commonest mix-ups" in result.stdout
    assert "top-5" in result.stdout


def test_exit_codes_of_the_program(model: Path, photos: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "edgex"]
    missing = subprocess.run([*program, "inspect", tmp_path / "no.onnx"], capture_output=True, text=True)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "no such file" in missing.stderr
    device = subprocess.run(
        [*program, "eval", model, "--data", photos, "--device", "npu"], capture_output=True, text=True
    )
    assert device.returncode == 6
