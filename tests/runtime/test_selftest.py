"""An artifact whose contract, graph or weights were changed is refused, and what was changed is named."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgex_runtime import selftest
from edgex_runtime.engines.engine import EngineInfo, EngineOptions, Signature
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.errors import ContractMismatchError
from edgex_runtime.metadata.registry import artifact_sha256, read_spec, write_spec
from edgex_runtime.model import Model
from edgex_runtime.selftest import check, record_golden
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

# Precision → the fixture of its file.
FILES = {"fp32": "tiny_onnx", "int8": "tiny_int8_onnx"}


@pytest.fixture(params=FILES)
def artifact(request: pytest.FixtureRequest, tmp_path: Path, tiny_spec: ModelSpec) -> Path:
    """A sealed artifact, as the converters leave it."""
    path = Path(shutil.copy(request.getfixturevalue(FILES[request.param]), tmp_path / "sealed.onnx"))
    return seal(path, replace(tiny_spec, precision=request.param))


def seal(path: Path, spec: ModelSpec) -> Path:
    engine = open_engine(path, EngineOptions(threads=1))
    write_spec(path, replace(spec, golden=record_golden(engine, spec)))
    return path


def edit(path: Path, **changes: object) -> None:
    """Change the contract and leave the golden samples as they are."""
    spec = read_spec(path)
    assert spec is not None
    write_spec(path, replace(spec, **changes))  # type: ignore[arg-type]


def refused_field(path: Path) -> str:
    with pytest.raises(ContractMismatchError) as caught:
        Model(path, threads=1)
    assert "What to do" in str(caught.value)
    return caught.value.field


def test_a_sealed_artifact_passes(artifact: Path) -> None:
    with Model(artifact, threads=1) as model:
        assert model.spec.golden is not None


def test_a_flipped_channel_order_in_the_contract_is_named(artifact: Path) -> None:
    edit(artifact, input=InputSpec(height=32, width=32, color="BGR"))
    assert refused_field(artifact) == "channel order"


@pytest.mark.parametrize(
    "resize",
    [Resize(mode="stretch"), Resize(mode="letterbox"), Resize(mode="crop"), Resize(mode="crop", crop_fraction=0.86)],
    ids=["stretch", "letterbox", "whole centre", "a little tighter"],
)
def test_a_wrong_resize_is_named(artifact: Path, resize: Resize) -> None:
    edit(artifact, resize=resize)
    assert refused_field(artifact) == "resize"


def test_swapped_labels_are_named(artifact: Path, tiny_spec: ModelSpec) -> None:
    first, second, *rest = tiny_spec.labels
    edit(artifact, labels=(second, first, *rest))
    assert refused_field(artifact) == "labels"


def test_another_number_of_labels_is_named(artifact: Path, tiny_spec: ModelSpec) -> None:
    edit(artifact, labels=tiny_spec.labels[:-1])
    assert refused_field(artifact) == "labels"


def test_a_wrong_layout_in_the_contract_is_named(artifact: Path) -> None:
    edit(artifact, input=InputSpec(height=32, width=32, layout="NCHW"))
    assert refused_field(artifact) == "layout"


@pytest.mark.parametrize(
    "wrong", [InputSpec(height=32, width=48), InputSpec(height=32, width=32, dtype="float32")], ids=["size", "dtype"]
)
def test_another_input_is_named(artifact: Path, wrong: InputSpec) -> None:
    edit(artifact, input=wrong)
    assert refused_field(artifact) == "input"


# The same contract over another graph: what a converter's bug, or a file swapped by hand, does. The int8 contract is
# the one with the wide tolerance, which must still see each of these.


@pytest.fixture(params=FILES)
def contract(request: pytest.FixtureRequest, tmp_path: Path, tiny_spec: ModelSpec) -> ModelSpec:
    path = Path(shutil.copy(request.getfixturevalue(FILES[request.param]), tmp_path / "sealed.onnx"))
    spec = read_spec(seal(path, replace(tiny_spec, precision=request.param)))
    assert spec is not None
    return spec


def test_a_graph_that_wants_bgr_is_named(
    tmp_path: Path, contract: ModelSpec, make_onnx: Callable[..., Path], tiny_weights: object
) -> None:
    bgr = {name: np.ascontiguousarray(getattr(tiny_weights, name)[::-1]) for name in ("mean", "std")}
    conv1 = np.ascontiguousarray(tiny_weights.conv1[:, ::-1])  # type: ignore[attr-defined]
    path = make_onnx(tmp_path / "bgr.onnx", replace(tiny_weights, conv1=conv1, **bgr))  # type: ignore[type-var]
    write_spec(path, contract)
    assert refused_field(path) == "channel order"


def test_a_graph_that_turns_the_picture_is_named(
    tmp_path: Path, contract: ModelSpec, make_onnx: Callable[..., Path], tiny_weights: object
) -> None:
    path = make_onnx(tmp_path / "turned.onnx", tiny_weights, to_nchw=(0, 3, 2, 1))
    write_spec(path, contract)
    assert refused_field(path) == "layout"


def test_a_graph_with_its_outputs_in_another_order_is_named(
    tmp_path: Path, contract: ModelSpec, make_onnx: Callable[..., Path], tiny_weights: object
) -> None:
    linear = np.roll(tiny_weights.linear, 1, axis=0)  # type: ignore[attr-defined]
    path = make_onnx(tmp_path / "rolled.onnx", replace(tiny_weights, linear=linear))  # type: ignore[type-var]
    write_spec(path, contract)
    assert refused_field(path) == "labels"


def test_other_weights_are_named(
    tmp_path: Path,
    contract: ModelSpec,
    tiny_spec: ModelSpec,
    make_onnx: Callable[..., Path],
    make_weights: Callable[..., object],
) -> None:
    path = make_onnx(tmp_path / "other.onnx", make_weights(tiny_spec, np.random.default_rng(99)))
    write_spec(path, contract)
    assert refused_field(path) == "weights"


def test_a_graph_without_its_scaling_is_named(
    tmp_path: Path, contract: ModelSpec, make_onnx: Callable[..., Path], tiny_weights: object
) -> None:
    unscaled = replace(tiny_weights, mean=np.zeros(3, np.float32))  # type: ignore[type-var]
    path = make_onnx(tmp_path / "unscaled.onnx", unscaled)
    write_spec(path, contract)
    assert refused_field(path) == "weights"


def test_the_same_graph_within_the_int8_tolerance_passes(
    tmp_path: Path, tiny_int8_onnx: Path, tiny_onnx: Path, tiny_spec: ModelSpec
) -> None:
    # fp32 and int8 of one network differ by more than two CPU families do in int8; the tolerance covers even this.
    sealed = read_spec(seal(Path(shutil.copy(tiny_int8_onnx, tmp_path)), replace(tiny_spec, precision="int8")))
    assert sealed is not None
    path = Path(shutil.copy(tiny_onnx, tmp_path / "float.onnx"))
    write_spec(path, sealed)
    Model(path, threads=1).close()


# What is remembered.


class CountingEngine:
    """Wraps an engine and counts its runs."""

    def __init__(self, path: Path) -> None:
        self._engine = open_engine(path, EngineOptions(threads=1))
        self.runs = 0
        self.version: str | None = None

    @property
    def info(self) -> EngineInfo:
        return replace(self._engine.info, version=self.version or self._engine.info.version)

    @property
    def signature(self) -> Signature:
        return self._engine.signature

    def run(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        self.runs += 1
        return self._engine.run(batch)

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def sealed(tmp_path: Path, tiny_onnx: Path, tiny_spec: ModelSpec) -> tuple[CountingEngine, ModelSpec, str]:
    path = seal(Path(shutil.copy(tiny_onnx, tmp_path / "sealed.onnx")), tiny_spec)
    spec = read_spec(path)
    assert spec is not None
    return CountingEngine(path), spec, artifact_sha256(path)


Sealed = tuple[CountingEngine, ModelSpec, str]


def test_a_passed_check_costs_nothing_the_next_time(sealed: Sealed) -> None:
    engine, spec, digest = sealed
    check(engine, spec, digest)
    assert engine.runs == 1
    check(engine, spec, digest)
    assert engine.runs == 1


def test_another_artifact_or_engine_version_is_checked_again(sealed: Sealed) -> None:
    engine, spec, digest = sealed
    check(engine, spec, digest)
    check(engine, spec, "another digest")
    assert engine.runs == 2
    engine.version = "another version"
    check(engine, spec, digest)
    assert engine.runs == 3


def test_a_failed_check_is_not_remembered(sealed: Sealed) -> None:
    engine, spec, digest = sealed
    assert spec.golden is not None
    spec = replace(spec, golden=replace(spec.golden, tolerance=-1.0))
    for _ in range(2):
        with pytest.raises(ContractMismatchError, match="weights"):
            check(engine, spec, digest)


@pytest.mark.parametrize("content", [b"", b"ok", b"\xff\xfe"])
def test_a_corrupt_verdict_counts_for_nothing(sealed: Sealed, own_cache: Path, content: bytes) -> None:
    engine, spec, digest = sealed
    check(engine, spec, digest)
    (verdict,) = (own_cache / "selftest").iterdir()
    verdict.write_bytes(content)
    check(engine, spec, digest)
    assert engine.runs == 2


def test_without_a_writable_cache_it_checks_every_time(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, spec, digest = sealed
    blocked = tmp_path / "a file, not a folder"
    blocked.touch()
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(blocked / "cache"))
    check(engine, spec, digest)
    check(engine, spec, digest)
    assert engine.runs == 2


def test_other_golden_images_are_named(sealed: Sealed) -> None:
    engine, spec, digest = sealed
    assert spec.golden is not None
    samples = tuple(replace(sample, image="of next year") for sample in spec.golden.samples)
    with pytest.raises(ContractMismatchError, match="of next year") as caught:
        check(engine, replace(spec, golden=replace(spec.golden, samples=samples)), digest)
    assert caught.value.field == "golden"


def test_the_cache_follows_the_desktop_standard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edgex_runtime.verdicts import cache_folder

    monkeypatch.delenv("EDGEX_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgex"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "edgex"


def test_refuses_to_record_logits_that_are_no_numbers(
    tmp_path: Path, tiny_spec: ModelSpec, make_onnx: Callable[..., Path], tiny_weights: object
) -> None:
    broken = replace(tiny_weights, linear=np.full((5, 16), np.nan, np.float32))  # type: ignore[type-var]
    engine = open_engine(make_onnx(tmp_path / "nan.onnx", broken), EngineOptions(threads=1))
    with pytest.raises(ContractMismatchError, match="NaN"):
        record_golden(engine, tiny_spec)


def test_tolerance_is_a_share_of_the_range_by_precision() -> None:
    logits = np.array([[-2.0, 0.0], [1.0, 8.0]], dtype=np.float32)
    assert selftest.tolerance("fp32", logits) == pytest.approx(0.01)
    assert selftest.tolerance("fp16", logits) == pytest.approx(0.1)
    assert selftest.tolerance("int8", logits) == pytest.approx(0.5)
