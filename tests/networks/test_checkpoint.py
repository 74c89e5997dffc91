"""One file holds a network's weights and its contract, and comes back as the network that it was."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from edgex.networks.checkpoint import load_checkpoint, load_deployed, save_checkpoint
from edgex.networks.deploy import Deployed
from edgex.networks.weights import labels_in, load_weights, read_header
from edgex.networks.xception import NORMALISE, Xception, XceptionConfig
from edgex_runtime.errors import ModelFileError, SpecError, WeightsError
from edgex_runtime.spec import InputSpec, ModelSpec, NetworkRef, Resize

LABELS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")


@pytest.fixture
def spec(narrow: XceptionConfig) -> ModelSpec:
    return ModelSpec(
        name="narrow",
        labels=LABELS,
        input=InputSpec(height=narrow.image_size, width=narrow.image_size),
        resize=Resize(mode="crop"),
        normalise=NORMALISE,
    )


@pytest.fixture
def checkpoint(network: Xception, spec: ModelSpec, tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, network, spec)
    return path


def test_comes_back_with_the_same_weights_and_contract(checkpoint: Path, network: Xception, spec: ModelSpec) -> None:
    loaded, loaded_spec = load_checkpoint(checkpoint)
    assert loaded.config == network.config
    state = network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    assert loaded_spec == replace(spec, network=NetworkRef(family="xception", config=asdict(network.config)))


def test_deployed_gives_the_networks_logits_for_bytes(checkpoint: Path, network: Xception) -> None:
    size = network.config.image_size
    photo = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8)
    deployed = load_deployed(checkpoint)
    assert not deployed.training
    with torch.no_grad():
        assert torch.equal(deployed(photo), Deployed(network, NORMALISE)(photo))


def test_loading_draws_nothing_from_the_global_generator(checkpoint: Path) -> None:
    before = torch.get_rng_state()
    load_checkpoint(checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loaded_network_can_be_trained_on(checkpoint: Path) -> None:
    network, _ = load_checkpoint(checkpoint)
    assert network.training
    size = network.config.image_size
    network(torch.randn(2, 3, size, size)).sum().backward()
    assert network.block1.conv1.weight.grad is not None
    assert network.get_buffer("block1.conv1_bn.num_batches_tracked").item() == 1


def test_is_plain_safetensors_for_everybody_else(checkpoint: Path, network: Xception) -> None:
    tensors = safetensors.torch.load_file(checkpoint)
    assert sum(tensor.numel() for tensor in tensors.values()) == sum(
        value.numel() for value in network.state_dict().values() if value.is_floating_point()
    )
    assert read_header(checkpoint)["format"] == "pt"
    assert labels_in(checkpoint) == LABELS


def test_its_weights_alone_load_into_a_network_with_other_classes(checkpoint: Path, narrow: XceptionConfig) -> None:
    other = Xception(replace(narrow, classes=3))
    report = load_weights(other, checkpoint, allow_missing=lambda key: key.startswith("head."))
    assert report.missing == ("head.predictions.weight", "head.predictions.bias")


def test_an_interrupted_write_leaves_the_old_file(
    checkpoint: Path, network: Xception, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with torch.no_grad():
        network.get_parameter("head.predictions.bias").add_(1.0)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(checkpoint, network, spec)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": LABELS[:-1]}, "want a label for each of the 7 logits, got 6"),
        ({"input": InputSpec(height=64, width=66)}, "want contract.input to be"),
        ({"input": InputSpec(height=66, width=66, color="BGR")}, "want contract.input to be"),
        ({"normalise": None}, "normalise is missing"),
        ({"network": NetworkRef(family="resnet")}, "the contract names"),
    ],
)
def test_refuses_to_save_a_contract_of_another_network(
    change: dict[str, Any], words: str, network: Xception, spec: ModelSpec, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=words):
        save_checkpoint(tmp_path / "x.safetensors", network, replace(spec, **change))
    assert list(tmp_path.iterdir()) == []


def test_refuses_another_suffix(network: Xception, spec: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"ends in \.safetensors"):
        save_checkpoint(tmp_path / "x.pth", network, spec)


def test_weights_without_a_contract_are_refused_with_what_to_do(network: Xception, tmp_path: Path) -> None:
    safetensors.torch.save_file(network.state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(SpecError, match=r"weights without a contract.*--spec spec\.toml.*edgex train --weights"):
        load_checkpoint(tmp_path / "bare.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": None}, "want a contract of the network family 'xception', got None"),
        ({"network": NetworkRef(family="resnet")}, "got 'resnet'"),
        ({"network": NetworkRef(family="xception", config={"depth": 3})}, "unknown key 'depth'"),
        ({"network": NetworkRef(family="xception", config={"width": -1.0, "classes": 7})}, "width: want more than 0"),
        ({"network": NetworkRef(family="xception", config={"classes": 9, "image_size": 66})}, "9 logits, got 7 labels"),
    ],
)
def test_refuses_to_load_a_contract_that_no_code_here_builds(
    change: dict[str, Any], words: str, network: Xception, spec: ModelSpec, tmp_path: Path
) -> None:
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file(network.state_dict(), path, metadata={"edgex": replace(spec, **change).to_json()})
    with pytest.raises(SpecError, match=words):
        load_checkpoint(path)


def test_refuses_weights_that_are_not_those_of_the_contract(network: Xception, spec: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    ref = NetworkRef(family="xception", config=asdict(replace(network.config, width=0.25)))
    safetensors.torch.save_file(network.state_dict(), path, metadata={"edgex": replace(spec, network=ref).to_json()})
    with pytest.raises(WeightsError, match="want the shape"):
        load_checkpoint(path)


def test_refuses_a_file_that_is_no_safetensors(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        load_checkpoint(tmp_path / "x.safetensors")
