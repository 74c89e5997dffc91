"""A key changes with everything that its step depends on, and with nothing else."""

from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from edgex_converters.config import QuantizeConfig
from edgex_converters.keys import Keys, code_digest
from edgex_converters.recipes import STAGES
from edgex_runtime import provenance
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize

STAGE = {stage.name: stage for stage in STAGES}
KEYS = Keys(
    network="one",
    spec=ModelSpec(
        name="net",
        labels=("a", "b"),
        input=InputSpec(height=8, width=8),
        resize=Resize(mode="crop"),
        normalise=Normalise(mean=(0.0,) * 3, std=(1.0,) * 3),
    ),
    evaluation=("e1", "e2"),
    calibration=("c1", "c2"),
    quantize=QuantizeConfig(),
    threads=None,
)


def every_key(keys: Keys) -> dict[str, str]:
    """The source's digest is fixed: in a conversion it changes with the stage before."""
    artifacts = {stage.name: keys.artifact(stage, "s" if stage.requires else None) for stage in STAGES}
    steps = {
        "reference": keys.reference(),
        "verify": keys.logits("x"),
        "seal": keys.seal("x", keys.spec),
        "timing": keys.timing({"onnx fp32": "x"}),
    }
    return artifacts | steps


MEASURED = {"reference", "verify", "timing"}
CALIBRATED = {"quantize_onnx", "quantize_openvino", "quantize_tflite"}
ALL = set(every_key(KEYS))


@pytest.mark.parametrize(
    ("change", "new_keys"),
    [
        ({}, set()),
        ({"network": "two"}, {"export_onnx", "export_tflite", "reference"}),
        ({"spec": replace(KEYS.spec, labels=("b", "a"))}, ALL - MEASURED),
        ({"spec": replace(KEYS.spec, resize=Resize(mode="stretch"))}, ALL),
        ({"evaluation": ("e1", "e3")}, MEASURED),
        ({"calibration": ("c2", "c1")}, CALIBRATED),
        ({"quantize": QuantizeConfig(weight_bits=8)}, {"quantize_onnx", "quantize_openvino"}),
        ({"quantize": QuantizeConfig(activation_range="minmax")}, CALIBRATED),
        ({"quantize": QuantizeConfig(seed=1)}, set()),  # It shows in the photos that were chosen.
        ({"threads": 1}, {"verify", "seal", "timing"}),
    ],
)
def test_follows(change: dict, new_keys: set[str]) -> None:
    before, after = every_key(KEYS), every_key(replace(KEYS, **change))
    assert {step for step in before if before[step] != after[step]} == new_keys


@pytest.mark.parametrize(
    ("package", "stage", "other"),
    [
        ("nncf", "quantize_openvino", "half_openvino"),
        ("ai-edge-quantizer", "half_tflite", "export_tflite"),
        ("torch", "export_onnx", "half_onnx"),
    ],
)
def test_follows_a_tool(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, package: str, stage: str, other: str
) -> None:
    before = every_key(KEYS)
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "9.9" if name == package else version(name))
    # Another version is another process: within one, a version is looked up once.
    provenance._version.cache_clear()
    request.addfinalizer(provenance._version.cache_clear)
    after = every_key(KEYS)
    assert before[stage] != after[stage]
    assert before[other] == after[other]


def test_follows_the_source_file_of_a_stage() -> None:
    half = STAGE["half_onnx"]
    assert KEYS.artifact(half, "one") != KEYS.artifact(half, "two")


def test_times_belong_to_one_set_of_artifacts() -> None:
    onnx, tflite = "onnx fp32", "tflite fp32"
    both = KEYS.timing({onnx: "x", tflite: "y"})
    assert both == KEYS.timing({tflite: "y", onnx: "x"})
    assert len({both, KEYS.timing({onnx: "x"}), KEYS.timing({onnx: "x", tflite: "z"})}) == 3


def test_code_is_its_text(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "same", "other", "renamed")]
    for folder, file, text in zip(folders, ("a", "a", "a", "b"), ("x = 1", "x = 1", "x = 2", "x = 1"), strict=True):
        (folder / "package").mkdir(parents=True)
        (folder / "package" / f"{file}.py").write_text(text)
    digests = [code_digest(folder / "package") for folder in folders]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
