"""The temperature: as likely as the paper says, honest about what photos can tell, and a contract that still holds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from edgex.cli.main import edgex
from edgex_runtime.dataset import scan
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.errors import BadInputError, ContractMismatchError, DatasetError
from edgex_runtime.metadata.registry import check_seal, read_spec, write_spec
from edgex_runtime.model import Model
from edgex_runtime.postprocess import softmax
from edgex_runtime.selftest import record_golden
from edgex_runtime.spec import DatasetRef, ModelSpec, Provenance
from edgex_runtime.temperature import (
    aim,
    calibrate,
    expected_calibration_error,
    negative_log_likelihood,
    store,
)

FORMATS = ["tiny_onnx", "tiny_int8_onnx", "tiny_openvino", "tiny_tflite", "tiny_int8_tflite", "tiny_checkpoint"]
Logits = NDArray[np.float32]
Truth = NDArray[np.integer]


def overconfident(count: int, temperature: float, *, seed: int = 0) -> tuple[Logits, Truth]:
    """Logits that are `temperature` times too large for how often they are right."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(count, 10)) * 2
    cumulated = softmax(honest).cumsum(axis=1)
    truth = (rng.random((count, 1)) > cumulated).sum(axis=1)
    return (honest * temperature).astype(np.float32), truth


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 9.0])
def test_the_temperature_that_made_logits_too_large_is_found_again(temperature: float) -> None:
    logits, truth = overconfident(20_000, temperature)
    found = calibrate(logits, truth, before=1.0)
    assert found.temperature == pytest.approx(temperature, rel=0.03)
    assert found.low < found.temperature < found.high
    assert found.ece_after < 0.012


def test_the_likelihood_is_largest_at_the_temperature() -> None:
    logits, truth = overconfident(500, 3.0)
    found = calibrate(logits, truth, before=1.0)
    around = [negative_log_likelihood(logits, truth, found.temperature * factor) for factor in (0.99, 1.0, 1.01)]
    assert around[1] == found.nll_after == min(around)
    assert found.nll_after < found.nll_before
    assert found.ece_after < found.ece_before


def test_the_interval_holds_the_true_temperature_nineteen_times_of_twenty() -> None:
    inside = 0
    for seed in range(200):
        found = calibrate(*overconfident(300, 2.0, seed=seed), before=1.0)
        inside += found.low < 2.0 < found.high
    # 190 expected; by chance fewer than 180 or more than 198 once in some hundred runs.
    assert 180 <= inside <= 198


def test_enormous_and_tiny_logits_are_no_harm() -> None:
    logits, truth = overconfident(2000, 1.0)
    for scale in (2e-1, 1.5e1):
        assert calibrate(logits * np.float32(scale), truth, before=1.0).temperature == pytest.approx(scale, rel=0.1)
    shifted = calibrate(logits + np.float32(1e4), truth, before=1.0).temperature
    assert shifted == pytest.approx(1.0, rel=0.1)


def test_calibration_error_is_the_gap_between_score_and_share_of_right_ones() -> None:
    # Two classes; scores 0.9 (three of four right) and 0.6 (two of four right).
    ninety, sixty = np.log(0.9 / 0.1), np.log(0.6 / 0.4)
    logits = np.array([[ninety, 0]] * 4 + [[sixty, 0]] * 4, dtype=np.float32)
    truth = np.array([0, 0, 0, 1, 0, 0, 1, 1])
    assert expected_calibration_error(logits, truth, 1.0) == pytest.approx((0.15 + 0.1) / 2, abs=1e-6)
    assert negative_log_likelihood(logits, truth, 1.0) == pytest.approx(
        -(3 * np.log(0.9) + np.log(0.1) + 2 * np.log(0.6) + 2 * np.log(0.4)) / 8, abs=1e-6
    )


def test_photos_that_decide_nothing_are_refused() -> None:
    logits, truth = overconfident(2000, 2.0)
    with pytest.raises(DatasetError, match="100 photos or more, got 99"):
        calibrate(logits[:99], truth[:99], before=1.0)
    with pytest.raises(DatasetError, match="right about these photos without a doubt"):
        calibrate(logits, logits.argmax(axis=1), before=1.0)
    with pytest.raises(DatasetError, match="no better than chance"):
        calibrate(logits, logits.argmin(axis=1), before=1.0)
    with pytest.raises(DatasetError, match="no better than chance"):
        calibrate(np.ones((200, 4), np.float32), np.arange(200) % 4, before=1.0)
    sure = np.zeros((100, 2), np.float32)
    sure[:, 0] = np.linspace(4, 8, 100)
    with pytest.raises(DatasetError, match="leave the temperature open"):
        calibrate(sure, (np.arange(100) < 1).astype(int), before=1.0)


def copy_of(fixture: str, request: pytest.FixtureRequest, folder: Path, spec: ModelSpec) -> Path:
    """A sealed copy with golden samples; a checkpoint has its own contract."""
    source: Path = request.getfixturevalue(fixture)
    for file in source.parent.glob(f"{source.stem}.*"):
        shutil.copy(file, folder)
    path = folder / source.name
    if fixture != "tiny_checkpoint":
        spec = replace(spec, precision="int8" if "int8" in fixture else "fp32")
        golden = record_golden(open_engine(path, EngineOptions(threads=1)), spec)
        write_spec(path, replace(spec, golden=golden))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """120 small photos, whose classes a random network does not know well."""
    rng = np.random.default_rng(2)
    for label in ("daisy", "tulip"):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for i in range(60):
            Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)).resize((40, 40)).save(folder / f"{i}.png")
    return tmp_path / "photos"


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(edgex, list(map(str, arguments)), standalone_mode=False)


def label_by_the_model(path: Path, folder: Path, photos: Path) -> Path:
    """Folders named as a model that is right four times of five would have it: then a temperature can be fitted."""
    rng = np.random.default_rng(3)
    with Model(path, threads=1) as model:
        for photo in sorted(photos.glob("*/*.png")):
            prediction = model.predict(photo)
            label = prediction.label if rng.random() < 0.8 else str(rng.choice(model.spec.labels))
            (folder / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, folder / label / f"{photo.parent.name}-{photo.name}")
    return folder


@pytest.mark.parametrize("fixture", FORMATS)
def test_every_format_keeps_its_seal_and_its_golden_samples(
    request: pytest.FixtureRequest, fixture: str, tmp_path: Path, tiny_spec: ModelSpec, photos: Path
) -> None:
    path = copy_of(fixture, request, tmp_path, tiny_spec)
    before = read_spec(path)
    assert before is not None
    data = label_by_the_model(path, tmp_path / "named", photos)
    picture = next(photos.glob("*/*.png"))
    with Model(path, threads=1) as model:
        sure = model.predict(picture)
    result = run("eval", path, "--data", data, "--threads", 1, "--calibrate", "--json")
    assert result.exception is None, result.exception
    calibration = json.loads(result.stdout)["calibration"]
    assert calibration["images"] == 120
    assert calibration["nll_after"] < calibration["nll_before"]
    after = read_spec(path)
    assert after is not None
    assert after.temperature == pytest.approx(calibration["temperature"])
    assert after.temperature != before.temperature
    assert after.golden == before.golden
    assert after.evidence[-1].metrics["nll"] == pytest.approx(calibration["nll_after"])
    assert replace(after, temperature=before.temperature, evidence=before.evidence) == before
    assert check_seal(path)
    with Model(path, threads=1) as model:
        prediction = model.predict(picture)
    assert np.array_equal(prediction.logits, sure.logits)
    assert prediction.label == sure.label
    expected = float(softmax(sure.logits, after.temperature).max())
    assert prediction.score == pytest.approx(expected)


def test_a_second_calibration_takes_the_place_of_the_first(
    request: pytest.FixtureRequest, tmp_path: Path, tiny_spec: ModelSpec, photos: Path
) -> None:
    path = copy_of("tiny_onnx", request, tmp_path, tiny_spec)
    data = label_by_the_model(path, tmp_path / "named", photos)
    first = run("eval", path, "--data", data, "--calibrate")
    assert "temperature 1.000 →" in first.stdout
    assert "NLL" in first.stdout
    assert "ECE" in first.stdout
    assert run("eval", path, "--data", data, "--calibrate").exception is None
    spec = read_spec(path)
    assert spec is not None
    assert [item.stage for item in spec.evidence] == ["temperature"]
    metrics = spec.evidence[0].metrics
    assert metrics["nll_before"] == pytest.approx(metrics["nll"])
    assert "temperature" in run("inspect", path).stdout


def test_files_and_photos_that_cannot_be_calibrated_are_refused_and_left_alone(
    request: pytest.FixtureRequest, tmp_path: Path, tiny_spec: ModelSpec, photos: Path, tiny_onnx: Path
) -> None:
    foreign = Path(shutil.copy(tiny_onnx, tmp_path / "foreign.onnx"))
    with pytest.raises(BadInputError, match="carries no contract"):
        aim(foreign, scan(photos))
    write_spec(foreign, replace(tiny_spec, output="probabilities"))
    with pytest.raises(BadInputError, match="gives probabilities"):
        aim(foreign, scan(photos))
    dataset = scan(photos)
    train = DatasetRef(role="train", path="x", count=120, fingerprint=dataset.fingerprint())
    write_spec(foreign, replace(tiny_spec, provenance=Provenance(datasets=(train,))))
    before = foreign.read_bytes()
    result = run("eval", foreign, "--data", photos, "--calibrate")
    assert isinstance(result.exception, DatasetError)
    assert "trained on" in str(result.exception)
    result = run("eval", foreign, "--data", photos, "--calibrate", "--limit", 50)
    assert "got 50" in str(result.exception)
    assert foreign.read_bytes() == before


def test_a_file_that_changed_meanwhile_is_not_written(
    request: pytest.FixtureRequest, tmp_path: Path, tiny_spec: ModelSpec, photos: Path
) -> None:
    path = copy_of("tiny_onnx", request, tmp_path, tiny_spec)
    target = aim(path, scan(photos))
    calibration = calibrate(*overconfident(200, 2.0), before=1.0)
    write_spec(path, replace(tiny_spec, name="another"))
    before = path.read_bytes()
    with pytest.raises(BadInputError, match="was changed while it was measured"):
        store(target, calibration)
    assert path.read_bytes() == before


def test_damaged_weights_do_not_get_a_new_seal(
    request: pytest.FixtureRequest, tmp_path: Path, tiny_spec: ModelSpec, photos: Path
) -> None:
    path = copy_of("tiny_onnx", request, tmp_path, tiny_spec)
    data = bytearray(path.read_bytes())
    # Somewhere in the weights, which come before the contract.
    data[len(data) // 8] ^= 1
    path.write_bytes(data)
    result = run("eval", path, "--data", photos, "--calibrate")
    assert isinstance(result.exception, ContractMismatchError)
    assert path.read_bytes() == bytes(data)
