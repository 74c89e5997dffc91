"""What int8 gets wrong on average goes into its biases, and only where that helps."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgex_converters.blame import logits_of
from edgex_converters.stages import biases_onnx, biases_tflite, blame_onnx, blame_tflite, calibrate, correct_bias
from edgex_converters.stages.correct_bias import Format
from edgex_converters.target import Target
from edgex_runtime.dataset import scan
from edgex_runtime.evaluate import sqnr_db

FORMATS = {
    "onnx": Format(read=blame_onnx.read, tap=blame_onnx.tap, add=biases_onnx.add),
    "tflite": Format(read=blame_tflite.read, tap=blame_tflite.tap, add=biases_tflite.add),
}
LAYER = "block3_sepconv2_pointwise"

both_formats = pytest.mark.parametrize("kind", FORMATS)


def artifact(made, kind: str, precision: str) -> Path:
    return made.out / Target(kind, precision).filename("colours")


@pytest.fixture(scope="module")
def calibrated(made) -> np.ndarray:
    """Those that the artifacts were calibrated on."""
    chosen = calibrate.choose(scan(made.photos / "train"), scan(made.photos / "val"), made.config.quantize)
    return calibrate.decode(chosen, made.source.spec).inputs


@both_formats
def test_a_planted_shift_is_taken_back(made, calibrated: np.ndarray, kind: str, tmp_path: Path) -> None:
    fp32, healthy, files = artifact(made, kind, "fp32"), artifact(made, kind, "int8"), FORMATS[kind]
    shifted = Path(shutil.copy(healthy, tmp_path))
    graph = files.read(healthy)
    spread = files.tap(healthy, graph, threads=1)(calibrated[:1])[LAYER].std()
    files.add(shifted, {LAYER: np.full(len(graph[LAYER].bias), 2 * spread)})
    wanted = logits_of(fp32, calibrated)

    before = sqnr_db(wanted, logits_of(shifted, calibrated))
    assert before < sqnr_db(wanted, logits_of(healthy, calibrated)) - 3
    assert correct_bias.run(files, fp32, shifted, calibrated).startswith("bias correction kept: ")
    assert sqnr_db(wanted, logits_of(shifted, calibrated)) > before + 3


@both_formats
def test_a_bias_changes_by_what_it_is_told(made, kind: str, tmp_path: Path) -> None:
    files = FORMATS[kind]
    changed = Path(shutil.copy(artifact(made, kind, "int8"), tmp_path))
    before = files.read(changed)[LAYER].bias
    told = np.linspace(-1, 1, len(before))
    files.add(changed, {LAYER: told})
    np.testing.assert_allclose(files.read(changed)[LAYER].bias - before, told, atol=1e-3)


@both_formats
def test_what_does_not_help_is_dropped(made, calibrated: np.ndarray, kind: str, tmp_path: Path) -> None:
    """A file that is held against itself has nothing wrong with it."""
    path = Path(shutil.copy(artifact(made, kind, "fp32"), tmp_path))
    content = path.read_bytes()
    assert correct_bias.run(FORMATS[kind], path, path, calibrated).startswith("bias correction dropped: ")
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_whose_layers_cannot_be_read_is_left_alone(made, calibrated: np.ndarray, tmp_path: Path) -> None:
    fp32, int8 = artifact(made, "onnx", "fp32"), Path(shutil.copy(artifact(made, "onnx", "int8"), tmp_path))
    model = onnx.load(int8)
    next(node for node in model.graph.node if node.op_type == "MaxPool").op_type = "AveragePool"
    onnx.save(model, int8)
    content = int8.read_bytes()
    said = correct_bias.run(FORMATS["onnx"], fp32, int8, calibrated)
    assert said.startswith("bias correction not tried: ")
    assert "AveragePool" in said
    assert int8.read_bytes() == content


@both_formats
def test_the_report_is_told(made, kind: str) -> None:
    outcome = next(one for one in made.conversion.outcomes if one.target == Target(kind, "int8"))
    assert any(remark.startswith("bias correction ") for remark in outcome.remarks)


def test_logits_are_not_cut(made, calibrated: np.ndarray) -> None:
    """In ONNX nothing rounds them; in TFLite their range takes in what every calibration photo gave."""
    assert blame_onnx.read(artifact(made, "onnx", "int8"))["head_predictions"].output_range is None
    cut = blame_tflite.read(artifact(made, "tflite", "int8"))["head_predictions"].output_range
    logits = logits_of(artifact(made, "tflite", "fp32"), calibrated)
    assert cut is not None
    assert cut.low <= logits.min() + cut.step
    assert cut.high >= logits.max() - cut.step
