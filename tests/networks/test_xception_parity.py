"""The reference network against Keras's own code: same weights in both, same numbers out of both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgex.networks.weights import load_weights
from edgex.networks.xception import Xception, XceptionConfig

# Keras 3.15's torch backend asks numpy for a copy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

# Both compute in float32 on the same machine, so only the order of sums differs: 1e-6 of a map's range was measured.
BLOCK_TOLERANCE = 1e-5
LOGITS_TOLERANCE = 1e-4


def test_has_exactly_the_values_that_keras_counts() -> None:
    network = Xception(XceptionConfig())
    trained = sum(parameter.numel() for parameter in network.parameters())
    statistics = sum(buffer.numel() for name, buffer in network.named_buffers() if "running" in name)
    assert (trained, statistics, trained + statistics) == (22_855_952, 54_528, 22_910_480)


def test_has_2_plain_34_separable_and_4_shortcut_convolutions() -> None:
    convolutions = [
        name for name, module in Xception(XceptionConfig()).named_modules() if isinstance(module, torch.nn.Conv2d)
    ]
    ends = [name.rpartition(".")[2] for name in convolutions]
    assert {end: ends.count(end) for end in ends} == {
        "conv1": 1,
        "conv2": 1,
        "depthwise": 34,
        "pointwise": 34,
        "shortcut": 4,
    }


def test_agrees_with_keras_applications_in_the_logits_and_after_every_block(
    keras: Any, keras_application: Any, draw_images: Callable[..., NDArray[np.float32]], tmp_path: Path
) -> None:
    keras_application.save_weights(tmp_path / "x.weights.h5")
    network = Xception(XceptionConfig()).eval()
    load_weights(network, tmp_path / "x.weights.h5")
    compare(keras, keras_application, network, draw_images(network.config))


# Sides of the maps that reach the four pools; 299 pixels give 147, 74, 37 and 19.
@pytest.mark.parametrize(
    ("image_size", "sides"), [(66, (30, 15, 8, 4)), (75, (35, 18, 9, 5)), (70, (32, 16, 8, 4)), (39, (17, 9, 5, 3))]
)
def test_agrees_with_keras_on_even_and_odd_maps(
    image_size: int,
    sides: tuple[int, ...],
    keras: Any,
    keras_twin: Callable[..., Any],
    draw_images: Callable[..., NDArray[np.float32]],
    tmp_path: Path,
) -> None:
    network = Xception(XceptionConfig(width=0.125, middle_blocks=1, image_size=image_size, classes=5)).eval()
    assert pool_sides(network) == sides
    model = keras_twin(network.config, seed=image_size)
    model.save_weights(tmp_path / "x.weights.h5")
    load_weights(network, tmp_path / "x.weights.h5")
    compare(keras, model, network, draw_images(network.config))


def test_the_comparison_sees_a_pool_that_pads_otherwise(
    keras: Any, keras_twin: Callable[..., Any], draw_images: Callable[..., NDArray[np.float32]], tmp_path: Path
) -> None:
    network = Xception(XceptionConfig(width=0.125, middle_blocks=1, image_size=66, classes=5)).eval()
    model = keras_twin(network.config, seed=0)
    model.save_weights(tmp_path / "x.weights.h5")
    load_weights(network, tmp_path / "x.weights.h5")
    network.get_submodule("block2").pool = torch.nn.MaxPool2d(3, 2, padding=1)
    with pytest.raises(AssertionError, match="block2"):
        compare(keras, model, network, draw_images(network.config))


def compare(keras: Any, model: Any, network: Xception, images: NDArray[np.float32]) -> None:
    """Hold every block's map and the logits of `network` against those of the Keras `model`."""
    want_maps, want_logits = keras_maps(keras, model, images)
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = network(x).numpy()
        for (name, block), want in zip(network.blocks(), want_maps, strict=True):
            x = block(x)
            got = x.permute(0, 2, 3, 1).numpy()
            assert got.shape == want.shape, name
            assert np.abs(got - want).max() <= BLOCK_TOLERANCE * np.abs(want).max(), name
    assert np.abs(want_logits).max() > 0.1, "logits that are all near zero would agree with anything"
    assert np.abs(logits - want_logits).max() <= LOGITS_TOLERANCE


def keras_maps(
    keras: Any, model: Any, images: NDArray[np.float32]
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """What leaves each block of a Keras Xception (N, h, w, C), and its logits."""
    activations = [layer for layer in model.layers if isinstance(layer, keras.layers.Activation)]
    sums = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    ends = [activations[1], *sums, activations[-1]]
    with torch.no_grad():
        *maps, logits = keras.Model(model.input, [*(layer.output for layer in ends), model.output])(images)
    return [feature_map.numpy() for feature_map in maps], logits.numpy()


def pool_sides(network: Xception) -> tuple[int, ...]:
    """Side of the map that reaches each pool, seen by running the network."""
    sides: list[int] = []
    for module in network.modules():
        if isinstance(module, torch.nn.MaxPool2d):
            module.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    size = network.config.image_size
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    return tuple(sides)
