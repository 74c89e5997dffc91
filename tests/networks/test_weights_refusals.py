"""What does not fit or cannot be read is refused by name, and the network stays as it was."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgex.networks.naming import Renamed
from edgex.networks.weights import SCHEMES, labels_in, load_weights, read_header, read_tensors
from edgex.networks.xception import Xception, XceptionConfig
from edgex_runtime.errors import EdgexError, WeightsError


def renamed(network: Xception, scheme: str, key: str) -> Renamed:
    return next(item for item in SCHEMES[scheme](network, ()) if item.ours == key)


def written_by(scheme: str, network: Xception) -> dict[str, Tensor]:
    """The network's tensors under the names and in the layout of `scheme`."""
    state, tensors = network.state_dict(), {}
    for item in SCHEMES[scheme](network, ()):
        axes = None if item.axes is None else [item.axes.index(i) for i in range(len(item.axes))]
        value = state[item.ours]
        tensors[item.theirs] = (value.permute(axes) if axes else value).contiguous()
    return tensors


def save(tensors: dict[str, Tensor], path: Path, suffix: str = ".safetensors") -> Path:
    path = path / f"weights{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
        return path
    with h5py.File(path, "w") as file:
        for name, tensor in tensors.items():
            file[name] = tensor.numpy()
    return path


def refusal(network: Xception, path: Path) -> str:
    """The message of the refusal, after which the network must be what it was."""
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(network, path)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    return str(caught.value)


FORMATS = [(scheme, ".safetensors") for scheme in SCHEMES] + [("Keras", ".h5"), ("Keras 1", ".h5"), ("Keras 3", ".h5")]
each_format = pytest.mark.parametrize(("scheme", "suffix"), FORMATS, ids=[f"{s}{suffix}" for s, suffix in FORMATS])


@each_format
def test_each_format_written_by_its_names_loads_whole(
    scheme: str, suffix: str, network: Xception, tmp_path: Path
) -> None:
    loaded = Xception(network.config)
    report = load_weights(loaded, save(written_by(scheme, network), tmp_path, suffix))
    assert (report.scheme, report.missing, report.unexpected) == (scheme, (), ())
    state = network.state_dict()
    assert len(report.loaded) == sum(value.is_floating_point() for value in state.values())
    assert all(torch.equal(loaded.state_dict()[key], state[key]) for key in report.loaded)


@each_format
def test_names_each_missing_unexpected_and_misshapen_tensor(
    scheme: str, suffix: str, network: Xception, tmp_path: Path
) -> None:
    tensors = written_by(scheme, network)
    gone = renamed(network, scheme, "block3.sepconv2.pointwise.weight")
    bent = renamed(network, scheme, "head.predictions.weight")
    del tensors[gone.theirs]
    tensors[bent.theirs] = torch.zeros(3, 5)
    tensors["somebody/elses"] = torch.zeros(1)
    message = refusal(network, save(tensors, tmp_path, suffix))
    lines = message.splitlines()[1:]
    assert len(lines) == 3
    assert f"  {gone.theirs}: missing (it is {gone.ours} here)" in lines
    assert "  somebody/elses: unexpected" in lines
    assert any(line.startswith(f"  {bent.theirs}: want the shape (") and "got (3, 5)" in line for line in lines)


@pytest.mark.parametrize(
    ("key", "spoil", "words"),
    [
        ("block4.sepconv1.depthwise.weight", lambda t: t.fill_(float("nan")), "want finite values"),
        ("head.predictions.bias", lambda t: t.fill_(float("inf")), "want finite values"),
        ("block2.shortcut_bn.running_var", lambda t: t.fill_(-0.1), "want a variance of 0 or more"),
        ("block1.conv1.weight", lambda t: t.to(torch.int32), "want floating-point values, got int32"),
    ],
)
def test_refuses_values_that_no_training_gives(
    key: str, spoil: object, words: str, network: Xception, tmp_path: Path
) -> None:
    assert callable(spoil)
    tensors = written_by("edgex", network)
    tensors[key] = spoil(tensors[key].clone())
    assert f"{key}: {words}" in refusal(network, save(tensors, tmp_path))


def test_another_members_weights_are_refused_with_its_own_settings(network: Xception, tmp_path: Path) -> None:
    other = Xception(XceptionConfig(width=0.25, middle_blocks=1, image_size=66, classes=7))
    assert "XceptionConfig(width=0.125, middle_blocks=2" in refusal(network, save(written_by("edgex", other), tmp_path))


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_missing_or_misshapen_head_may_stay_as_it_is(scheme: str, network: Xception, tmp_path: Path) -> None:
    tensors = written_by(scheme, network)
    weight, bias = (renamed(network, scheme, f"head.predictions.{end}") for end in ("weight", "bias"))
    tensors[weight.theirs] = torch.zeros(1000, 1000)
    del tensors[bias.theirs]
    fresh = Xception(network.config)
    head = {key: value.clone() for key, value in fresh.state_dict().items() if key.startswith("head.")}
    path = save(tensors, tmp_path)
    report = load_weights(fresh, path, allow_missing=lambda key: key.startswith("head."))
    assert set(report.missing) == {"head.predictions.weight", "head.predictions.bias"}
    assert all(torch.equal(fresh.state_dict()[key], value) for key, value in head.items())
    assert torch.equal(fresh.get_parameter("block1.conv1.weight"), network.get_parameter("block1.conv1.weight"))


def test_what_may_be_missing_may_not_be_broken(network: Xception, tmp_path: Path) -> None:
    tensors = written_by("edgex", network)
    tensors["head.predictions.bias"].fill_(float("nan"))
    with pytest.raises(WeightsError, match=r"head\.predictions\.bias: want finite values"):
        load_weights(network, save(tensors, tmp_path), allow_missing=lambda key: True)


def test_a_file_of_another_network_says_which_names_are_known(network: Xception, tmp_path: Path) -> None:
    path = save({"layer1.0.conv1.bias": torch.zeros(64)}, tmp_path)
    message = refusal(network, path)
    assert "layer1.0.conv1.bias" in message
    assert all(scheme in message for scheme in SCHEMES)


def test_a_header_whose_length_looks_like_a_pickle_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    padding = next(n for n in range(256) if _with_padding(n)[0] == 0x80)
    path.write_bytes(_with_padding(padding))
    assert set(read_tensors(path)) == {"a"}


def _with_padding(count: int) -> bytes:
    return safetensors.torch.save({"a": torch.zeros(1)}, metadata={"k": "v" * count})


def test_a_big_endian_keras_file_has_the_same_values(network: Xception, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "big.h5", "w") as file:
        for name, tensor in written_by("Keras", network).items():
            file[name] = tensor.numpy().astype(">f4")
    loaded = Xception(network.config)
    load_weights(loaded, tmp_path / "big.h5")
    assert torch.equal(
        loaded.get_parameter("head.predictions.weight"), network.get_parameter("head.predictions.weight")
    )


def valid_safetensors() -> bytes:
    return safetensors.torch.save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2)}, metadata={"k": "v"})


def valid_hdf5() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["a/kernel"] = np.arange(6.0).reshape(2, 3)
        file["b/bias"] = np.zeros(2, np.float32)
    return buffer.getvalue()


def valid_keras_archive(compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("model.weights.h5", valid_hdf5())
    return buffer.getvalue()


def torch_pickle() -> bytes:
    buffer = io.BytesIO()
    torch.save({"block1.conv1.weight": torch.zeros(1)}, buffer)
    return buffer.getvalue()


def hdf5_with(name: str, **dataset: object) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset(name, **dataset)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is the file complete"),
        (b"hello, this is no model at all", "is the file complete"),
        (struct.pack("<Q", 1 << 60) + b"{}", "is the file complete"),
        (valid_safetensors()[:-3], "is the file complete"),
        (valid_safetensors()[:20], "is the file complete"),
        (valid_hdf5()[:100], "is the file complete"),
        (valid_keras_archive()[:-40], "is the file complete"),
        (valid_keras_archive(zipfile.ZIP_DEFLATED).replace(b"model.weights.h5", b"model.weights.xx"), "a zip without"),
        (torch_pickle(), "pickle"),
        (pickle.dumps({"a": 1}), "pickle"),
        (hdf5_with("a/kernel", data="a string"), "want a tensor of numbers"),
        (hdf5_with("a/kernel", data=np.zeros(2, np.longdouble)), "want a tensor of numbers"),
        (hdf5_with("a/kernel", data=h5py.Empty("f4")), "want a tensor of numbers"),
        (hdf5_with("a/kernel", shape=(1 << 40,), dtype="f4", chunks=(1 << 16,)), "the file claims"),
    ],
    ids=[
        "empty", "text", "huge-header", "cut", "cut-header", "cut-hdf5", "cut-zip", "other-zip", "torch-pickle",
        "pickle", "hdf5-string", "hdf5-longdouble", "hdf5-empty", "hdf5-claims-4-TB",
    ],
)  # fmt: skip
def test_a_hostile_file_is_a_clear_error(content: bytes, words: str, network: Xception, tmp_path: Path) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(content)
    message = refusal(network, path)
    assert str(path) in message
    assert words in message


def test_a_file_that_is_not_there_or_a_folder_is_a_clear_error(network: Xception, tmp_path: Path) -> None:
    assert "No such file" in refusal(network, tmp_path / "absent.safetensors")
    assert "Is a directory" in refusal(network, tmp_path)


@pytest.mark.parametrize("labels", ["daisy, rose", '{"daisy": 0}', '["daisy", 1]'])
def test_a_header_whose_labels_are_no_list_of_strings_is_refused(labels: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, metadata={"labels": labels})
    with pytest.raises(WeightsError, match="want a JSON list of strings"):
        labels_in(path)


def test_only_a_safetensors_file_has_a_header(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(valid_hdf5())
    with pytest.raises(WeightsError):
        read_header(tmp_path / "x.h5")


@given(data=st.data())
@settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize(
    "content", [valid_safetensors(), valid_hdf5(), valid_keras_archive()], ids=["st", "h5", "keras"]
)
def test_any_damage_is_read_as_tensors_or_refused_as_ours(content: bytes, tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(damaged[: data.draw(st.integers(1, len(content)))])
    try:
        tensors = read_tensors(path)
    except EdgexError:
        return
    assert all(isinstance(tensor, Tensor) for tensor in tensors.values())
