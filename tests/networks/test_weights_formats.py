"""Every kind of weights file that edgex reads, as its own maker writes it."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from edgex.networks.weights import labels_in, load_weights, read_header
from edgex.networks.xception import Xception, XceptionConfig

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

LOGITS_TOLERANCE = 1e-5


def logits_of(network: nn.Module, images: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        return network(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()


def keras_logits(model: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        return model(images).numpy()


def by_layer(model: Any) -> dict[str, Any]:
    """``block5_sepconv2/depthwise_kernel`` → the Keras model's variable."""
    return {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}


def write_weights_h5(model: Any, path: Path) -> Path:
    model.save_weights(path / "model.weights.h5")
    return path / "model.weights.h5"


def write_keras_archive(model: Any, path: Path) -> Path:
    model.save(path / "model.keras")
    return path / "model.keras"


def write_whole_model_h5(model: Any, path: Path) -> Path:
    model.save(path / "model.h5")
    return path / "model.h5"


def write_keras_2_weights_h5(model: Any, path: Path) -> Path:
    """As tf.keras 2's `save_weights`: a group a layer, TensorFlow's ``:0`` behind every name."""
    with h5py.File(path / "weights.h5", "w") as file:
        for name, weight in by_layer(model).items():
            layer = name.split("/")[0]
            file.create_dataset(f"{layer}/{name}:0", data=weight.numpy())
    return path / "weights.h5"


def write_nested_keras_2_h5(model: Any, path: Path) -> Path:
    """As tf.keras 2 saves an Xception inside a user's model, with the user's classifier on top and its optimiser."""
    with h5py.File(path / "nested.h5", "w") as file:
        for name, weight in by_layer(model).items():
            group = "dense_3/dense_3" if name.startswith("predictions/") else f"xception/{name.split('/')[0]}"
            file.create_dataset(f"model_weights/{group}/{name.split('/')[1]}:0", data=weight.numpy())
        file.create_dataset("optimizer_weights/Adam/iter:0", data=np.int64(7))
    return path / "nested.h5"


def write_keras_1_weights_h5(model: Any, path: Path) -> Path:
    """As Keras 1 did, in the file that keras.applications still downloads: every layer numbered as it was created."""
    kinds = {"Conv2D": "convolution2d", "SeparableConv2D": "separableconvolution2d"}
    kinds |= {"BatchNormalization": "batchnormalization", "Dense": "dense"}
    words = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}
    counts = dict.fromkeys(kinds.values(), 0) | {"dense": 1}
    with h5py.File(path / "keras1.h5", "w") as file:
        for layer in in_order_of_creation(model):
            kind = kinds[type(layer).__name__]
            counts[kind] += 1
            name = f"{kind}_{counts[kind]}"
            for weight in layer.weights:
                file[f"{name}/{name}_{words.get(weight.name, weight.name)}:0"] = weight.numpy()
    return path / "keras1.h5"


def in_order_of_creation(model: Any) -> list[Any]:
    """Layers with weights. `model.layers` has a shortcut inside or behind its block; Keras's code creates it before."""
    ranked, block = [], 0
    for index, layer in enumerate(model.layers):
        if match := re.match(r"block(\d+)_", layer.name):
            block = int(match[1])
        is_shortcut = layer.name.startswith(("conv2d", "batch_normalization"))
        ranked.append((block, not is_shortcut, index))
    return [model.layers[index] for *_, index in sorted(ranked) if model.layers[index].weights]


def write_keras_safetensors(model: Any, path: Path) -> Path:
    tensors = {name: torch.tensor(weight.numpy()) for name, weight in by_layer(model).items()}
    safetensors.torch.save_file(tensors, path / "keras.safetensors")
    return path / "keras.safetensors"


@pytest.mark.parametrize(
    ("write", "scheme"),
    [
        (write_weights_h5, "Keras 3"),
        (write_keras_archive, "Keras 3"),
        (write_whole_model_h5, "Keras"),
        (write_keras_2_weights_h5, "Keras"),
        (write_nested_keras_2_h5, "Keras"),
        (write_keras_1_weights_h5, "Keras 1"),
        (write_keras_safetensors, "Keras"),
    ],
)
def test_a_keras_file_gives_the_logits_that_keras_gives(
    write: Callable[[Any, Path], Path],
    scheme: str,
    keras_narrow: Any,
    narrow: XceptionConfig,
    draw_images: Callable[..., NDArray[np.float32]],
    tmp_path: Path,
) -> None:
    network = Xception(narrow).eval()
    report = load_weights(network, write(keras_narrow, tmp_path))
    assert (report.scheme, report.missing) == (scheme, ())
    images = draw_images(narrow)
    assert np.abs(logits_of(network, images) - keras_logits(keras_narrow, images)).max() <= LOGITS_TOLERANCE


def test_optimiser_state_in_a_trained_keras_archive_is_left_aside(
    keras: Any, keras_twin: Callable[..., Any], narrow: XceptionConfig, tmp_path: Path
) -> None:
    model = keras_twin(narrow, seed=5)
    model.compile(optimizer=keras.optimizers.SGD(momentum=0.9), loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "trained.keras")
    network = Xception(narrow)
    load_weights(network, tmp_path / "trained.keras")
    want = by_layer(model)["block4_sepconv1/pointwise_kernel"].numpy()
    got = network.get_parameter("block4.sepconv1.pointwise.weight").detach().numpy()
    assert np.array_equal(got[:, :, 0, 0].T, want[0, 0])


class TimmSeparable(nn.Module):
    """timm's names: the depthwise kernel is `conv1`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise(self.conv1(x))


class TimmBlock(nn.Module):
    """timm's names: `rep` is a sequence of (relu, convolution, norm) and a pool; `skip` and `skipbn` lead around it."""

    def __init__(self, widths: list[int], *, stride: int, relu_first: bool = True) -> None:
        super().__init__()
        self.skip = nn.Conv2d(widths[0], widths[-1], 1, stride=stride, bias=False) if stride > 1 else None
        if self.skip is not None:
            self.skipbn = norm(widths[-1])
        rep: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            rep += [nn.ReLU(), TimmSeparable(inputs, outputs), norm(outputs)]
        rep += [nn.MaxPool2d(3, stride, 1)] if stride > 1 else []
        self.rep = nn.Sequential(*(rep if relu_first else rep[1:]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rep(x) + (x if self.skip is None else self.skipbn(self.skip(x)))


def norm(channels: int) -> nn.BatchNorm2d:
    # timm runs these weights with epsilon 1e-5; they were trained with Keras's 1e-3, which is what edgex computes.
    return nn.BatchNorm2d(channels, eps=1e-3)


class TimmXception(nn.Module):
    """The module tree of timm's `legacy_xception`, for maps that are odd before every pool."""

    def __init__(self, config: XceptionConfig) -> None:
        super().__init__()
        wide = config.channels
        self.conv1, self.bn1 = nn.Conv2d(3, wide(32), 3, 2, bias=False), norm(wide(32))
        self.conv2, self.bn2 = nn.Conv2d(wide(32), wide(64), 3, bias=False), norm(wide(64))
        self.block1 = TimmBlock([wide(64), wide(128), wide(128)], stride=2, relu_first=False)
        self.block2 = TimmBlock([wide(128), wide(256), wide(256)], stride=2)
        self.block3 = TimmBlock([wide(256), wide(728), wide(728)], stride=2)
        last = 4 + config.middle_blocks
        for index in range(4, last):
            self.add_module(f"block{index}", TimmBlock([wide(728)] * 4, stride=1))
        self.add_module(f"block{last}", TimmBlock([wide(728), wide(728), wide(1024)], stride=2))
        self.body = [f"block{index}" for index in range(1, last + 1)]
        self.conv3, self.bn3 = TimmSeparable(wide(1024), wide(1536)), norm(wide(1536))
        self.conv4, self.bn4 = TimmSeparable(wide(1536), wide(2048)), norm(wide(2048))
        self.fc = nn.Linear(wide(2048), config.classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        for name in self.body:
            x = self.get_submodule(name)(x)
        x = self.bn4(self.conv4(self.bn3(self.conv3(x)).relu())).relu()
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("middle_blocks", [2, 8])
def test_a_timm_file_gives_the_logits_of_timms_module_tree(
    middle_blocks: int, draw_images: Callable[..., NDArray[np.float32]], tmp_path: Path
) -> None:
    config = XceptionConfig(width=0.125, middle_blocks=middle_blocks, image_size=39, classes=6)
    theirs = TimmXception(config)
    theirs(torch.randn(8, 3, 39, 39))  # moves the batch-norm statistics away from 0 and 1
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    network = Xception(config).eval()
    report = load_weights(network, tmp_path / "model.safetensors")
    assert report.scheme == "timm"
    assert all(name.endswith("num_batches_tracked") for name in report.unexpected)
    images = draw_images(config)
    assert np.abs(logits_of(network, images) - logits_of(theirs.eval(), images)).max() <= LOGITS_TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32(dtype: torch.dtype, network: Xception, tmp_path: Path) -> None:
    state = {
        key: value.to(dtype) if value.is_floating_point() else value for key, value in network.state_dict().items()
    }
    safetensors.torch.save_file(state, tmp_path / "half.safetensors")
    loaded = Xception(network.config)
    report = load_weights(loaded, tmp_path / "half.safetensors")
    assert report.scheme == "edgex"
    for key in report.loaded:
        value = loaded.state_dict()[key]
        assert value.dtype == torch.float32, key
        assert torch.equal(value, state[key].to(torch.float32)), key


def test_labels_are_read_from_a_list_in_the_header(tmp_path: Path) -> None:
    path = tmp_path / "tail.safetensors"
    header = {"labels": json.dumps(["daisy", "rosé"]), "licence": "CC BY 2.0"}
    safetensors.torch.save_file({"x": torch.zeros(1)}, path, metadata=header)
    assert labels_in(path) == ("daisy", "rosé")
    assert read_header(path) == header


def test_a_file_without_a_header_has_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    assert labels_in(path) is None
    assert read_header(path) == {}
