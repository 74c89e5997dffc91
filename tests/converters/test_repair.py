"""A planted fault that int8 cannot carry is repaired by the fewest layers in float, and what that costs is reported."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgex.networks.checkpoint import save_checkpoint
from edgex.networks.source import Missing, resolve
from edgex.networks.xception import Xception
from edgex_converters import pipeline
from edgex_converters.blame import Blame, LayerError
from edgex_converters.config import GateConfig, QuantizeConfig
from edgex_converters.gates import Measurement
from edgex_converters.pipeline import convert
from edgex_converters.repair import ops_of, search
from edgex_converters.report.report import write_report
from edgex_converters.result import Conversion, Outcome
from edgex_converters.target import Format, Target

CHANNEL = 3

Plant = Callable[[Xception], None]


def outgrow(network: Xception) -> None:
    """×1000 in one depthwise channel, ÷1000 in the pointwise that reads it: the same function, other ranges."""
    layers = dict(network.named_modules())
    layers["block2.sepconv2.depthwise"].weight[CHANNEL] *= 1000
    layers["block2.sepconv2.pointwise"].weight[:, CHANNEL] /= 1000


def tower(network: Xception) -> None:
    """One channel far above all others, which nothing reads: the other channels share what codes are left."""
    layers = dict(network.named_modules())
    reader = layers["block1.conv2"].weight
    channel = int(reader.abs().sum((0, 2, 3)).argmin())  # The one that the network misses least.
    layers["block1.conv1_bn"].bias[channel] += 5000
    reader[:, channel] = 0


@pytest.fixture
def repair(made, tmp_path: Path) -> Callable[..., Conversion]:
    """Plants a fault, and converts to int8 in one format."""

    def run(plant: Plant, kind: Format, **settings: Any) -> Conversion:
        network = resolve(str(made.checkpoint), Missing()).lazy_network().get().network
        with torch.no_grad():
            plant(network)
        path = tmp_path / "planted.safetensors"
        save_checkpoint(path, network, made.source.spec)
        config = replace(
            made.config,
            name="planted",
            out=tmp_path / "out",
            formats=(kind,),
            precisions=("int8",),
            gates=GateConfig(int8_accuracy=0.995),
            **{"repair": True, "repair_layers": 2, **settings},
        )
        conversion = convert(resolve(str(path), Missing()), config, type(made.observer)())
        write_report(conversion, config)
        return conversion

    return run


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (outgrow, "onnx"),
        (tower, "tflite"),
        (tower, "openvino"),
        pytest.param(outgrow, "openvino", marks=pytest.mark.slow),
        pytest.param(outgrow, "tflite", marks=pytest.mark.slow),
        pytest.param(tower, "onnx", marks=pytest.mark.slow),
    ],
)
def test_a_planted_fault_is_repaired_by_two_layers_at_most(
    repair, made, plant: Plant, kind: Format, tmp_path: Path
) -> None:
    conversion = repair(plant, kind)
    outcome = conversion.outcomes[0]
    assert outcome.status == "passed", outcome.why
    healthy = next(other for other in made.conversion.outcomes if other.target == outcome.target)
    assert outcome.measured.agreement >= min(0.99, healthy.measured.agreement)
    first, *_, last = outcome.repairs
    assert first.layers == ()
    assert not first.passed
    assert last.passed
    assert 1 <= len(last.layers) <= 2
    assert last.bytes == outcome.bytes
    assert any(", ".join(last.layers) in remark for remark in outcome.remarks)
    reported = json.loads((tmp_path / "out" / "report.json").read_text())["artifacts"][0]
    assert [step["layers"] for step in reported["repairs"]] == [list(step.layers) for step in outcome.repairs]
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"Repair of {kind} int8" in page
    assert "time an image: int8" in page


def test_nothing_is_repaired_unasked(repair) -> None:
    outcome = repair(tower, "onnx", repair=False).outcomes[0]
    assert outcome.status == "failed"
    assert outcome.repairs == ()


def test_a_try_that_its_tool_cannot_make_ends_only_itself(repair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "ops_of", lambda blame, layers: ("no such op",))
    outcome = repair(tower, "openvino").outcomes[0]
    assert outcome.status == "failed"
    assert outcome.path.parent.name == "rejected"
    assert any("in float: quantize_openvino broke" in remark for remark in outcome.remarks)


def test_what_another_cpu_would_answer_is_not_repaired(repair) -> None:
    conversion = repair(tower, "onnx", quantize=QuantizeConfig(calibration_images=32, weight_bits=8))
    assert conversion.outcomes[0].status == "failed"
    assert "saturate" in conversion.outcomes[0].portability_fault
    assert conversion.outcomes[0].repairs == ()


def layer(name: str, share: float, *readers: str) -> LayerError:
    return LayerError(
        name=name,
        kind="conv",
        share=share,
        share_error=0.0,
        sqnr_db=20.0,
        own_sqnr_db=20.0,
        cosine=1.0,
        clipped=0.0,
        weights=1.0,
        ops=(f"op {name}",),
        read_by=readers,
    )


def outcome_of(sqnr_db: float, *, passed: bool = False) -> Outcome:
    measured = Measurement(
        images=200,
        accuracy=0.5,
        accuracy_low=0.4,
        accuracy_high=0.6,
        reference_accuracy=0.9,
        agreement=0.5,
        difference=0.1,
        sqnr_db=sqnr_db,
    )
    return Outcome(target=Target("onnx", "int8"), status="passed" if passed else "failed", measured=measured)


BLAME = Blame(
    layers=(layer("a", 0.6, "b"), layer("c", 0.3, "d", "e"), layer("f", 0.1, "g"), layer("d", 0.0)),
    images=1,
    share_images=1,
    logits_sqnr_db=10.0,
    unexplained=0.0,
    sum_of_parts=1.0,
)


@pytest.mark.parametrize(
    ("gained_db", "tried"),
    [
        # What is cut where it leaves: a layer gains nothing without its reader.
        ({"ab": 3, "abc": 3, "abcde": 5}, ["a", "ab", "abc", "abcde", "abcdef"]),
        # What is wrong in the weights: the reader gains nothing more.
        ({"a": 3, "ab": 3, "ac": 5, "acde": 5}, ["a", "ab", "ac", "acde", "acf", "acfg"]),
        # A layer that gains nothing in any way does not stay.
        ({"c": 3, "cde": 3}, ["a", "ab", "c", "cde", "cf", "cfg"]),
    ],
)
def test_what_gains_stays_and_what_does_not_goes(gained_db: dict[str, float], tried: list[str]) -> None:
    found: list[str] = []

    def attempt(layers: tuple[str, ...]) -> Outcome:
        found.append("".join(layers))
        return outcome_of(10.0 + gained_db.get(found[-1], 0.0))

    assert search(BLAME, 6, outcome_of(10.0), attempt) == ()
    assert found == tried


def test_the_first_set_that_passes_ends_the_search() -> None:
    found: list[tuple[str, ...]] = []

    def attempt(layers: tuple[str, ...]) -> Outcome:
        found.append(layers)
        return outcome_of(20.0, passed=layers == ("a", "b"))

    assert search(BLAME, 8, outcome_of(10.0), attempt) == ("a", "b")
    assert found == [("a",), ("a", "b")]


def test_no_set_is_larger_than_asked_for() -> None:
    found: list[tuple[str, ...]] = []

    def attempt(layers: tuple[str, ...]) -> Outcome | None:
        found.append(layers)

    assert search(BLAME, 2, outcome_of(10.0), attempt) == ()
    assert found == [("a",), ("a", "b"), ("c",)]


def test_ops_are_those_of_the_layers() -> None:
    assert ops_of(BLAME, ("a", "d")) == ("op a", "op d")
