"""Keras on its torch backend, Xceptions with random weights built from its layers, and what a conversion needs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from edgex.networks.xception import Xception, XceptionConfig

# Small, fast, and with two middle blocks, so that numbered names are told apart.
NARROW = XceptionConfig(width=0.125, middle_blocks=2, image_size=66, classes=7)


@pytest.fixture(scope="session")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Keras 3 computing with torch; it reads both variables at import and writes its settings at home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        import keras

        yield keras


class Silent:
    """An observer that listens to nothing."""

    def begin(self, step: str) -> None:
        pass

    def advance(self, done: int, total: int) -> None:
        pass

    def finish(self, outcome: object) -> None:
        pass


@pytest.fixture
def silent() -> Silent:
    return Silent()


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three labels."""
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    path.write_text("red\ngreen\nblue\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def coloured_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four noisy photos of each label of `labels`."""
    root, rng = tmp_path_factory.mktemp("coloured"), np.random.default_rng(0)
    for place, label in enumerate(("red", "green", "blue")):
        (root / label).mkdir()
        for index in range(4):
            pixels = rng.normal(90, 40, (96, 80, 3))
            pixels[..., place] += 80
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / label / f"{index}.png")
    return root


@pytest.fixture
def narrow() -> XceptionConfig:
    return NARROW


@pytest.fixture(scope="session")
def keras_narrow(keras: Any) -> Any:
    """The Keras twin of `NARROW`, randomised."""
    # Another unnamed convolution before it: automatic names then start anywhere, as in a user's process.
    keras.layers.Conv2D(8, 1)
    return _randomise(_keras_xception(keras, NARROW), seed=1)


@pytest.fixture(scope="session")
def random_network() -> Callable[..., Xception]:
    """(config, seed) → a network with every tensor drawn from the seed, statistics included, in evaluation mode."""
    return _random_network


@pytest.fixture
def network(narrow: XceptionConfig) -> Xception:
    return _random_network(narrow, seed=3)


@pytest.fixture(scope="session")
def draw_images() -> Callable[..., NDArray[np.float32]]:
    """(config, count) → (count, S, S, 3) float32, −1..1."""
    return _images


@pytest.fixture(scope="session")
def keras_twin(keras: Any) -> Callable[..., Any]:
    """(config, seed) → the Keras model of that member of the family, randomised."""
    return lambda config, *, seed: _randomise(_keras_xception(keras, config), seed=seed)


@pytest.fixture(scope="session")
def keras_application(keras: Any) -> Any:
    """`keras.applications.Xception` itself, 299 pixels, 1000 logits, randomised."""
    return _randomise(keras.applications.Xception(weights=None, classifier_activation=None), seed=0)


def _random_network(config: XceptionConfig, *, seed: int) -> Xception:
    network = Xception(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(0.0, 0.1, generator=generator)
    return network.eval()


def _images(config: XceptionConfig, *, count: int = 2) -> NDArray[np.float32]:
    size = config.image_size
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


def _randomise(model: Any, *, seed: int) -> Any:
    """Random batch-norm statistics and scales beside Keras's own initial kernels; activations stay within ±20."""
    rng = np.random.default_rng(seed)
    draw: dict[str, Callable[[tuple[int, ...]], NDArray[np.float64]]] = {
        "moving_variance": lambda shape: rng.uniform(0.5, 1.5, shape),
        "gamma": lambda shape: rng.uniform(0.5, 1.5, shape),
        "moving_mean": lambda shape: rng.normal(0.0, 0.3, shape),
        "beta": lambda shape: rng.normal(0.0, 0.3, shape),
        "bias": lambda shape: rng.normal(0.0, 0.3, shape),
    }
    for variable in model.weights:
        if variable.name in draw:
            variable.assign(draw[variable.name](tuple(variable.shape)))
    return model


def _keras_xception(keras: Any, config: XceptionConfig) -> Any:
    """A member of the family from Keras's own layers, named and wired as `keras.applications.Xception` does it."""
    wide, layers = config.channels, keras.layers

    def norm(x: Any, name: str | None = None) -> Any:
        return layers.BatchNormalization(name=name)(x)

    def separable(x: Any, name: str, channels: int, *, relu: bool = True) -> Any:
        x = layers.Activation("relu", name=f"{name}_act")(x) if relu else x
        x = layers.SeparableConv2D(wide(channels), 3, padding="same", use_bias=False, name=name)(x)
        return norm(x, f"{name}_bn")

    def down(x: Any, name: str, middle: int, outputs: int, *, relu: bool = True) -> Any:
        shortcut = norm(layers.Conv2D(wide(outputs), 1, strides=2, padding="same", use_bias=False)(x))
        x = separable(x, f"{name}_sepconv1", middle, relu=relu)
        x = separable(x, f"{name}_sepconv2", outputs)
        return layers.add([layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x), shortcut])

    x = inputs = keras.Input((config.image_size, config.image_size, 3))
    for name, channels, stride in (("block1_conv1", 32, 2), ("block1_conv2", 64, 1)):
        x = norm(layers.Conv2D(wide(channels), 3, strides=stride, use_bias=False, name=name)(x), f"{name}_bn")
        x = layers.Activation("relu")(x)
    for name, channels in (("block2", 128), ("block3", 256), ("block4", 728)):
        x = down(x, name, channels, channels, relu=name != "block2")
    for index in range(5, 5 + config.middle_blocks):
        y = x
        for rank in (1, 2, 3):
            y = separable(y, f"block{index}_sepconv{rank}", 728)
        x = layers.add([y, x])
    index = 5 + config.middle_blocks
    x = down(x, f"block{index}", 728, 1024)
    for rank, channels in ((1, 1536), (2, 2048)):
        x = separable(x, f"block{index + 1}_sepconv{rank}", channels, relu=False)
        x = layers.Activation("relu")(x)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, layers.Dense(config.classes, name="predictions")(x))
