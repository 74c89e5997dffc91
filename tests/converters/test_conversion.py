"""All nine artifacts of a trained network: what each promises to whoever loads it."""

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest

from edgex import Model
from edgex_converters.report.html import write_html
from edgex_converters.report.json import report_of
from edgex_converters.target import FORMATS, PRECISIONS, Target
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.metadata.registry import read_spec

TARGETS = [Target(kind, precision) for kind in FORMATS for precision in PRECISIONS]
every_target = pytest.mark.parametrize("target", TARGETS, ids=str)


def artifact(made, target: Target) -> Path:
    return made.out / target.filename("colours")


def test_all_nine_pass_their_gates(made) -> None:
    faults = {str(outcome.target): outcome.why for outcome in made.conversion.outcomes if outcome.status != "passed"}
    assert faults == {}
    assert made.conversion.reference_accuracy > 0.95
    assert made.conversion.failure() is None


def test_nothing_but_the_artifacts_is_left(made) -> None:
    expected = {target.filename("colours") for target in TARGETS} | {f"colours-{p}.bin" for p in PRECISIONS}
    assert {path.name for path in made.out.iterdir()} == expected


@every_target
def test_takes_bytes_and_gives_logits(made, target: Target) -> None:
    engine = open_engine(artifact(made, target), EngineOptions(threads=1))
    assert (engine.signature.input_shape[1:], engine.signature.input_dtype) == ((64, 64, 3), "uint8")
    assert (engine.signature.output_shape[-1], engine.signature.output_dtype) == (4, "float32")
    logits = engine.run(np.zeros((3, 64, 64, 3), np.uint8))
    engine.close()
    assert logits.shape == (3, 4)
    assert not np.allclose(logits.sum(1), 1.0), "probabilities, not logits"


@every_target
def test_carries_its_contract_and_evidence(made, target: Target) -> None:
    spec = read_spec(artifact(made, target))
    assert spec is not None
    assert (spec.precision, spec.labels, spec.resize.mode) == (target.precision, made.source.spec.labels, "crop")
    assert spec.evidence
    assert all(step.passed and step.images == 240 for step in spec.evidence)
    assert spec.provenance.source_sha256 == made.source.sha256
    assert {"edgex", "python"} < set(spec.provenance.tools)
    roles = {dataset.role for dataset in spec.provenance.datasets}
    assert roles == {"val", "evaluation"} | ({"calibration"} if target.precision == "int8" else set())
    assert spec.golden is not None
    assert len(spec.golden.samples) >= 4


def test_one_photo_through_all_nine_and_the_checkpoint(made) -> None:
    photo = made.photos / "val" / "red" / "000.png"
    with Model(made.checkpoint) as model:
        wanted = model.predict(photo)
    assert wanted.label == "red"
    for target in TARGETS:
        with Model(artifact(made, target), threads=1) as model:
            result = model.predict(photo)
        assert result.label == wanted.label, target
        if target.precision == "fp32":
            # Float kernels order their sums differently; 1e-3 of probability is the promise.
            assert result.score == pytest.approx(wanted.score, abs=1e-3), target


@pytest.mark.parametrize("name", ["colours-fp32.onnx", "colours-fp32.xml"])
def test_batch_is_dynamic_where_the_format_can(made, name: str) -> None:
    engine = open_engine(made.out / name, EngineOptions(threads=1))
    assert engine.signature.input_shape[0] == -1
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    together, apart = engine.run(images), np.concatenate([engine.run(image[None]) for image in images])
    engine.close()
    np.testing.assert_allclose(together, apart, atol=1e-4)  # The order of float sums depends on the batch.


def test_onnx_is_one_file_of_opset_18_without_scaling_ops(made) -> None:
    model = onnx.load(made.out / "colours-fp32.onnx")
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18}
    assert model.ir_version <= 10
    ops = {node.op_type for node in model.graph.node}
    assert ops <= {"Transpose", "Cast", "Conv", "Relu", "MaxPool", "Add", "ReduceMean", "Reshape", "Gemm"}, ops


@pytest.mark.parametrize("precision", PRECISIONS)
def test_half_and_int8_files_are_smaller(made, precision: str) -> None:
    for kind in FORMATS:
        sizes = {o.target.precision: o.bytes for o in made.conversion.outcomes if o.target.format == kind}
        assert sizes["int8"] < sizes["fp16"] < sizes["fp32"], kind


def test_openvino_ir_tells_model_api_its_labels(made) -> None:
    model = openvino.Core().read_model(made.out / "colours-int8.xml")
    assert model.get_rt_info(["model_info", "labels"]).astype(str) == "blue green red yellow"


def test_says_what_it_did(made) -> None:
    assert [str(outcome.target) for outcome in made.observer.outcomes] != []
    assert {"export_onnx", "quantize_tflite", "verify openvino int8", "reference"} <= set(made.observer.steps)


def test_times_every_artifact_in_one_run(made) -> None:
    assert all(outcome.ms is not None and outcome.ms > 0 for outcome in made.conversion.outcomes)


def test_report_holds_every_figure(made, tmp_path: Path) -> None:
    report = report_of(made.conversion, made.config)
    assert len(report["artifacts"]) == 9
    assert sum(map(sum, report["reference_confusion"])) == 240
    for entry in report["artifacts"]:
        assert entry["metrics"]["accuracy_low"] <= entry["metrics"]["accuracy"] <= entry["metrics"]["accuracy_high"]
        assert sum(map(sum, entry["confusion"])) == 240
    write_html(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "9 of 9 artifacts passed" in page
    assert "://" not in page, "the page loads something from the network"
