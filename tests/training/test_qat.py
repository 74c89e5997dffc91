"""A network that int8 spoils learns to answer as it did, and its ranges stand in all three formats."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from edgex.cli.convert import command as convert_command
from edgex.cli.train import command as train_command
from edgex.networks.checkpoint import load_checkpoint, load_deployed, save_checkpoint
from edgex.networks.ranges import read_ranges
from edgex.networks.source import Missing, resolve
from edgex.networks.xception import Xception, XceptionConfig
from edgex.training import fake_quantise
from edgex.training.config import TrainConfig
from edgex.training.float_checkpoint import open_checkpoint
from edgex.training.imitation import Imitation
from edgex.training.loop import TrainResult, train
from edgex.training.observer import EpochMetrics, Silent
from edgex_converters import learned
from edgex_converters.blame import logits_of, read, read_network
from edgex_converters.config import QuantizeConfig
from edgex_converters.graph import Graph
from edgex_converters.recipes import plan
from edgex_converters.stage import Job
from edgex_converters.stages.simulate import Simulation
from edgex_converters.target import FORMATS, Format, Target
from edgex_runtime import image, preprocess
from edgex_runtime.dataset import scan
from edgex_runtime.errors import BadInputError, DatasetError, SpecError, StageError, WeightsError
from edgex_runtime.evaluate import sqnr_db
from edgex_runtime.provenance import file_sha256

every_format = pytest.mark.parametrize("kind", FORMATS)
# How much one channel of every depthwise convolution outgrows the others; the next layer takes it back, so that the
# float network answers as before, while the others' values fall between two levels of the range that they share.
OUTGROWN = 60.0


@pytest.fixture(scope="module")
def folds(write: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A train and a val folder of shapes, which QAT takes as they are."""
    root = tmp_path_factory.mktemp("qat-photos")
    write(root / "train", 40, seed=1)
    write(root / "val", 40, seed=2)
    return root


@pytest.fixture(scope="module")
def float_run(folds: Path, tiny, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    out = tmp_path_factory.mktemp("float")
    return train(tiny(folds, out, width=0.125, image_size=64, epochs=8, lr=4e-3, ema=0.9, name="shapes"))


@pytest.fixture(scope="module")
def planted(float_run: TrainResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same answers in float, from weights that int8 spoils."""
    network, spec = load_checkpoint(float_run.checkpoint)
    modules = dict(network.named_modules())
    with torch.no_grad():
        for name in [name for name in modules if name.endswith(".depthwise")]:
            weight = modules[name].weight
            channel = int(weight.abs().flatten(1).amax(1).argmax())
            weight[channel] *= OUTGROWN
            modules[name.replace("depthwise", "pointwise")].weight[:, channel] /= OUTGROWN
    path = tmp_path_factory.mktemp("planted") / "planted.safetensors"
    save_checkpoint(path, network.eval(), replace(spec, golden=None))
    return path


def qat_config(folds: Path, out: Path, checkpoint: Path, **changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {"epochs": 6, "lr": 2e-3, "batch_size": 8, "device": "cpu", "workers": 2}
    return TrainConfig(data=folds, out=out, qat=checkpoint, **(settings | changes))


@pytest.fixture(scope="module")
def learnt(planted: Path, folds: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    out = tmp_path_factory.mktemp("qat")
    return train(qat_config(folds, out, planted))


@pytest.fixture(scope="module")
def val(folds: Path, planted: Path) -> tuple[np.ndarray, np.ndarray]:
    spec, photos = resolve(str(planted), Missing()).spec, scan(folds / "val").files
    images = [preprocess.resize(image.read_image(photo.path), spec.input, spec.resize) for photo in photos]
    return np.stack(images), np.array([photo.label for photo in photos])


def quantised(checkpoint: Path, folds: Path, out: Path) -> dict[Format, Path]:
    """Its int8 file in every format, by the stages that `convert-model` runs."""
    source = resolve(str(checkpoint), Missing())
    photos = scan(folds / "train").files[::3]
    job = Job(
        lazy_network=source.lazy_network(),
        spec=source.spec,
        calibration=np.stack(
            [preprocess.resize(image.read_image(p.path), source.spec.input, source.spec.resize) for p in photos]
        ),
        quantize=QuantizeConfig(),
        ranges=source.ranges,
    )
    made: dict[Target, Path] = {}
    for stage in plan(Target(kind, "int8") for kind in FORMATS):
        path = out / stage.ensures.filename("model")
        stage.load()(job, None if stage.requires is None else made[stage.requires], path)
        made[stage.ensures] = path
    return {kind: made[Target(kind, "int8")] for kind in FORMATS}


@pytest.fixture(scope="module")
def calibrated_files(planted: Path, folds: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Format, Path]:
    return quantised(planted, folds, tmp_path_factory.mktemp("calibrated"))


@pytest.fixture(scope="module")
def learned_files(learnt: TrainResult, folds: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Format, Path]:
    return quantised(learnt.checkpoint, folds, tmp_path_factory.mktemp("learned"))


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(1) == labels).mean())


def least_agreement(files: dict[Format, Path], images: np.ndarray) -> float:
    answers = [logits_of(path, images, threads=1).argmax(1) for path in files.values()]
    return min(float((one == other).mean()) for one in answers for other in answers)


@every_format
def test_what_calibration_spoils_is_learned_back(kind: Format, float_run, calibrated_files, learned_files, val) -> None:
    images, labels = val
    wanted = 0.99 * float_run.best.val_top1

    assert top1(logits_of(calibrated_files[kind], images, threads=1), labels) < wanted
    assert top1(logits_of(learned_files[kind], images, threads=1), labels) >= wanted


def test_the_three_files_agree_more_than_calibrated_ones(calibrated_files, learned_files, val) -> None:
    images, _ = val

    assert least_agreement(learned_files, images) >= 0.98
    assert least_agreement(learned_files, images) > least_agreement(calibrated_files, images)


@every_format
def test_every_learned_range_stands_in_the_file(kind: Format, learnt: TrainResult, learned_files) -> None:
    ranges, found = read_ranges(learnt.checkpoint), {}
    for place in read(learned_files[kind]).places:
        cuts = [(place.name, place.output_range), *zip(place.inputs, place.cuts, strict=False)]
        found |= {name: cut for name, cut in cuts if cut is not None}

    assert ranges is not None
    assert set(ranges) <= set(found)
    for name, (low, high) in ranges.items():
        step = (high - low) / 255
        assert found[name].steps == 255
        assert found[name].low == pytest.approx(low, abs=step), name
        assert found[name].high == pytest.approx(high, abs=step), name
    # TFLite's logits are int8 by the format's rule, and nothing may cut them.
    assert set(found) - set(ranges) - {"block2_pool", "block3_pool", "block4_pool", "block5_pool"} == (
        {"head_predictions"} if kind == "tflite" else set()
    )


@every_format
def test_the_files_compute_the_fake_quantised_network(kind: Format, learnt: TrainResult, learned_files, val) -> None:
    """Its weights and ranges as the checkpoint has them, rounded in PyTorch."""
    ranges = read_ranges(learnt.checkpoint)
    assert ranges is not None
    graph = read_network(load_deployed(learnt.checkpoint))
    cuts = learned.of_places(graph, ranges)
    places = [replace(p, steps=(*p.steps, cuts[p.name])) if p.name in ranges else p for p in graph.places]
    network = Simulation(Graph(places=tuple(places), output=graph.output))
    images, labels = val
    wanted = np.concatenate([network.run(images[i : i + 1])[graph.output].numpy() for i in range(len(images))])

    found = logits_of(learned_files[kind], images, threads=1)
    assert top1(wanted, labels) == pytest.approx(learnt.best.val_top1, abs=0.01)
    assert (found.argmax(1) == wanted.argmax(1)).mean() >= 0.98
    # A value between two levels may fall to either, and this network makes much of a level.
    assert sqnr_db(wanted, found) > 15


def test_ranges_and_biases_learn(learnt: TrainResult) -> None:
    """The start is good already; what the steps are for is to come nearer."""
    assert learnt.history[-1].train_loss < 0.9 * learnt.history[0].train_loss


def test_the_contract_says_what_was_learned_from_what(learnt: TrainResult, planted: Path) -> None:
    (evidence,) = learnt.spec.evidence

    assert evidence.stage == "qat"
    assert evidence.passed
    assert evidence.metrics["calibrated_top1"] < evidence.metrics["top1"] == learnt.best.val_top1
    assert evidence.metrics["calibrated_agreement"] < evidence.metrics["float_agreement"] <= 1
    assert learnt.spec.provenance.source_sha256 == file_sha256(planted)


def test_weights_stand_on_their_levels(learnt: TrainResult) -> None:
    for place in read_network(load_deployed(learnt.checkpoint)).places:
        if place.weight is not None:
            steps = learned.weight_steps(place.weight).reshape(-1, *[1] * (place.weight.ndim - 1))
            codes = place.weight / steps
            np.testing.assert_allclose(codes, np.round(codes), atol=2e-3, err_msg=place.name)
            assert np.abs(codes).max() == pytest.approx(learned.WEIGHT_CODES, abs=1e-3)


def test_conversion_takes_the_ranges_and_says_so(learnt: TrainResult, folds: Path, tmp_path: Path) -> None:
    words = [str(learnt.checkpoint), "--to", "onnx", "--precision", "int8", "--calib", str(folds / "train")]
    words += ["--calib-images", "32", "--threads", "1", "--no-cache"]

    done = CliRunner().invoke(convert_command, [*words, "-o", str(tmp_path / "a"), "--json"])

    report, count = json.loads(done.stdout), len(read_ranges(learnt.checkpoint) or ())
    assert report["learned_ranges"] == count
    assert report["artifacts"][0]["remarks"] == [f"{count} of {count} learned ranges stand in the file"]
    assert f"{count} learned ranges" in (tmp_path / "a" / "report.html").read_text()


def test_other_weights_than_its_ranges_were_learned_with_are_refused(learned_files, learnt: TrainResult) -> None:
    ranges = read_ranges(learnt.checkpoint)
    assert ranges is not None
    graph = read(learned_files["onnx"])
    moved = {name: (low, 1.1 * high) for name, (low, high) in ranges.items()}
    shifted = tuple(p if p.weight is None else replace(p, weight=p.weight * 1.01 + 1e-3) for p in graph.places)

    with pytest.raises(StageError, match=r"image: want the learned range 0 to 280\.5"):
        learned.require_in_file(graph, graph, moved)
    with pytest.raises(StageError, match="block1_conv1: want the weights on the levels"):
        learned.require_in_file(Graph(places=shifted, output=graph.output), graph, ranges)
    with pytest.raises(StageError, match="want --weight-bits 7"):
        learned.require_seven_bits(8)


def test_a_checkpoint_without_ranges_has_none(planted: Path) -> None:
    assert read_ranges(planted) is None
    assert resolve(str(planted), Missing()).ranges is None


def test_a_damaged_range_is_named(planted: Path, tmp_path: Path) -> None:
    network, spec = load_checkpoint(planted)
    save_checkpoint(tmp_path / "x.safetensors", network, spec, {"block1_conv1": (1.0, 0.5)})

    with pytest.raises(WeightsError, match=r"activation_range.block1_conv1: want a least value of 0 or less"):
        resolve(str(tmp_path / "x.safetensors"), Missing())


def test_a_user_who_names_a_way_to_calibrate_gets_it(learnt: TrainResult) -> None:
    source = resolve(str(learnt.checkpoint), Missing())

    assert source.ranges_for(QuantizeConfig()) == read_ranges(learnt.checkpoint)
    assert source.ranges_for(QuantizeConfig(activation_range="mean")) is None


def test_an_interrupted_run_goes_on_to_the_same_network(planted: Path, write, tmp_path: Path) -> None:
    folds = tmp_path / "few"
    write(folds / "train", 8, seed=3)
    write(folds / "val", 4, seed=4)
    whole = train(qat_config(folds, tmp_path / "whole", planted, epochs=2))

    class Killed(Silent):
        def epoch(self, metrics: EpochMetrics) -> None:
            raise KeyboardInterrupt

    config = qat_config(folds, tmp_path / "cut", planted, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, Killed())
    resumed = train(replace(config, resume=True))

    assert [line.val_loss for line in resumed.history] == [line.val_loss for line in whole.history]
    assert read_ranges(resumed.checkpoint) == read_ranges(whole.checkpoint)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--weights", "x.h5"], "leave --weights and --freeze-trunk out"),
        (["--width", "0.5"], "--width: .* was trained with 0.125, got 0.5: leave the flag out"),
        (["--resize", "crop"], "--resize: .* was trained with stretch"),
    ],
)
def test_a_flag_that_contradicts_the_checkpoint_is_named(words, wanted, planted: Path, folds: Path) -> None:
    done = CliRunner().invoke(train_command, ["--data", str(folds), "--qat", str(planted), *words])

    assert isinstance(done.exception, BadInputError)
    assert re.search(wanted, str(done.exception))


def test_only_a_float_checkpoint_can_be_trained(
    learnt: TrainResult, learned_files, folds: Path, tmp_path: Path
) -> None:
    for checkpoint, wanted in (
        (tmp_path / "nothing.safetensors", "found no file"),
        (learned_files["onnx"], "a converted file cannot be trained"),
        (learnt.checkpoint, "has learned its ranges already"),
    ):
        with pytest.raises(BadInputError, match=wanted):
            train(qat_config(folds, tmp_path / "run", checkpoint))
    assert not (tmp_path / "run").exists()


def test_weights_alone_are_trained_if_they_name_their_classes(folds: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    weights = Xception(XceptionConfig(classes=3)).state_dict()
    save_file(weights, path, metadata={"labels": json.dumps(["cross", "ring", "square"])})
    config = TrainConfig(data=folds, qat=path, resize="crop", crop_fraction=0.9)

    found = open_checkpoint(path, config)

    assert found.spec.labels == ("cross", "ring", "square")
    assert (found.spec.resize.mode, found.spec.resize.crop_fraction) == ("crop", 0.9)
    assert torch.equal(found.network.block1.conv1.weight, weights["block1.conv1.weight"])
    with pytest.raises(SpecError, match="nothing in it says how photos become its input: give --resize"):
        open_checkpoint(path, replace(config, resize=None))
    save_file(weights, path)
    with pytest.raises(BadInputError, match="nothing says which classes it knows"):
        open_checkpoint(path, config)


def test_photos_of_other_classes_are_refused(write, planted: Path, tmp_path: Path) -> None:
    others = write(tmp_path / "others", 4, kinds=("cross", "ring"))

    with pytest.raises(DatasetError, match=r"knows 3 classes, .* has 2, only in one of them: square"):
        train(qat_config(others, tmp_path / "run", planted))


def test_biases_stand_on_their_levels(learnt: TrainResult) -> None:
    graph, ranges = read_network(load_deployed(learnt.checkpoint)), read_ranges(learnt.checkpoint)
    assert ranges is not None
    cuts = learned.of_places(graph, ranges)
    for place in graph.places:
        if place.weight is not None and place.bias is not None:
            codes = place.bias / (learned.weight_steps(place.weight) * cuts[place.inputs[0]].step)
            np.testing.assert_allclose(codes, np.round(codes), atol=0.05, err_msg=place.name)


def test_gradients_of_a_range_are_those_of_its_rounding() -> None:
    """A value inside moves with the step, one beyond an end with that end, and its own gradient ends there."""
    x = torch.tensor([-3.0, 0.3, 5.0], requires_grad=True)
    low, high = torch.tensor(-1.0, requires_grad=True), torch.tensor(1.55, requires_grad=True)
    found = fake_quantise.activation(x, low, high)
    (found * torch.tensor([1.0, 10.0, 100.0])).sum().backward()

    np.testing.assert_allclose(found.detach().numpy(), [-1.0, 0.3, 1.55], atol=1e-6)
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 10.0, 0.0]
    share = 1 / np.sqrt(3 * 255)
    assert low.grad == pytest.approx(1.0 * share, rel=1e-3)
    assert high.grad == pytest.approx(100.0 * share, rel=1e-3)


def test_a_value_between_two_levels_widens_its_step() -> None:
    """LSQ's equation 3: the gradient of a step is what its value was rounded by, in steps."""
    low, high = torch.tensor(-1.0, requires_grad=True), torch.tensor(1.55, requires_grad=True)
    fake_quantise.activation(torch.tensor([0.303]), low, high).sum().backward()

    widened = (30 - 30.3) / 255 / np.sqrt(255)
    assert low.grad == pytest.approx(-widened, rel=1e-3)
    assert high.grad == pytest.approx(widened, rel=1e-3)


def test_a_photo_that_no_range_holds_does_not_outweigh_the_others() -> None:
    """The gradient of a photo that is far off is less than that of one that is a little off."""
    wanted, found = torch.tensor([[4.0, -4.0], [4.0, -4.0]]), torch.tensor([[3.5, -3.5], [-60.0, 60.0]])
    found.requires_grad_()

    loss, logits = Imitation(lambda _: found, lambda _: wanted)(torch.zeros(2), torch.zeros(2))
    loss.backward()

    assert logits is found
    assert 0 < float(loss.detach()) < 1
    near, far = found.grad.abs().sum(1)
    assert float(far) < 0.01 * float(near)


def test_what_is_common_to_a_photos_logits_is_no_error() -> None:
    wanted = torch.tensor([[4.0, -4.0, 1.0]])

    loss, _ = Imitation(lambda _: wanted + 7.0, lambda _: wanted)(torch.zeros(1), torch.zeros(1))

    assert float(loss) == pytest.approx(0.0, abs=1e-6)
