"""`keras:NAME`: what the graph computes from bytes is what Keras computes from its own preprocessing of them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from edgex.networks.deploy import Deployed
from edgex.networks.source import Missing, resolve
from edgex.networks.sources.keras import KerasModule, scaling_of
from edgex_converters.config import ConvertConfig, QuantizeConfig
from edgex_converters.pipeline import Source, convert
from edgex_converters.stage import Job
from edgex_converters.stages import export_onnx
from edgex_runtime.errors import BadInputError, SpecError, WeightsError
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize

pytestmark = [
    pytest.mark.usefixtures("keras"),
    # Keras 3.15 on torch 2.13; nothing that we could change.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

# Name in keras.applications → (smallest useful side, layout of its images, what its preprocess_input does).
FAMILIES = {
    "ResNet50": (32, "NCHW", "BGR less a mean"),
    "InceptionV3": (75, "NCHW", "-1..1"),
    "MobileNetV2": (32, "NCHW", "-1..1"),
    "DenseNet121": (32, "NHWC", "mean and std"),
    "MobileNetV3Small": (32, "NCHW", "inside"),
    "EfficientNetB0": (32, "NCHW", "inside"),
    "ConvNeXtTiny": (32, "NHWC", "inside"),
}
COSTLY = ("EfficientNetB0", "ConvNeXtTiny")
SCALINGS = {
    "BGR less a mean": ("BGR", (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "-1..1": ("RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "mean and std": ("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "inside": ("RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def random_source(name: str, labels: Path) -> Source:
    """A family with every variable drawn, batch-norm's statistics included, so that its logits differ per image."""
    size = FAMILIES[name][0]
    source = resolve(f"keras:{name}", Missing(labels=labels, resize="stretch", input_size=(size, size), weights="none"))
    rng = np.random.default_rng(0)
    for variable in source.network.network.model.weights:
        shape = tuple(variable.shape)
        if variable.name in ("moving_variance", "gamma"):
            # ConvNeXt's LayerScale is a gamma too: near 1, its branches count.
            variable.assign(rng.uniform(0.8, 1.2, shape))
        elif variable.name in ("moving_mean", "beta", "bias"):
            variable.assign(rng.normal(0.0, 0.1, shape))
    return source


def noise(size: int, count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in COSTLY else name for name in FAMILIES]
)
def test_answers_as_keras_does_on_its_own_preprocessing(keras: Any, name: str, labels: Path) -> None:
    size, layout, scaling = FAMILIES[name]
    source = random_source(name, labels)
    assert source.network.layout == layout
    color, mean, std = SCALINGS[scaling]
    assert (source.network.color, source.spec.normalise.mean, source.spec.normalise.std) == (color, mean, std)
    build = getattr(keras.applications, name)
    theirs = build(weights=None, classes=3, classifier_activation=None, input_shape=(size, size, 3))
    theirs.set_weights(source.network.network.model.get_weights())
    images = noise(size)
    pixels = sys.modules[build.__module__].preprocess_input(images.astype(np.float32))
    want = theirs.predict_on_batch(pixels)
    with torch.inference_mode():
        got = source.network(torch.from_numpy(images)).numpy()
    assert np.ptp(want) > 1e-2, "logits that do not differ prove nothing"
    # Sums in another order, and (x − m) · (1/s) against x / 127.5 − 1.
    assert np.abs(got - want).max() <= 1e-4 * np.ptp(want)


_LITERT_BREAKS = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="LiteRT: 'tfl.batch_matmul' op found invalid output rank, expected 3"
)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=_LITERT_BREAKS if name == "ConvNeXtTiny" else ()) for name in FAMILIES]
)
def test_passes_the_parity_gate_in_every_format(
    name: str, labels: Path, coloured_photos: Path, silent: Any, tmp_path: Path
) -> None:
    config = ConvertConfig(name="network", out=tmp_path, evaluation=coloured_photos, precisions=("fp32",), threads=1)
    conversion = convert(random_source(name, labels), config, silent)
    print(name, [(str(o.target), o.status, o.measured and o.measured.difference) for o in conversion.outcomes])
    assert {str(outcome.target): (outcome.status, outcome.why) for outcome in conversion.outcomes} == {
        "onnx fp32": ("passed", ""),
        "openvino fp32": ("passed", ""),
        "tflite fp32": ("passed", ""),
    }


def test_a_rescaling_by_channel_keeps_the_networks_layout(keras: Any) -> None:
    """EfficientNet's ImageNet weights come with one, which asks Keras's settings for the layout when it is called."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    inputs = keras.Input((3, 5, 4))
    model = keras.Model(inputs, keras.layers.Rescaling([1.0, 10.0, 100.0])(inputs))
    keras.config.set_image_data_format(before)
    images = torch.rand(2, 3, 5, 4)
    assert torch.equal(KerasModule(model, "NCHW")(images), images * torch.tensor([1.0, 10.0, 100.0])[:, None, None])
    assert keras.config.image_data_format() == before


@pytest.mark.filterwarnings("default")
def test_onnx_has_constant_kernels_with_batch_norm_folded_in(keras: Any, tmp_path: Path) -> None:
    """The second kernel is larger than what the exporter computes by itself."""
    x = inputs = keras.Input((16, 16, 3))
    for channels in (8, 800):
        x = keras.layers.Conv2D(channels, 7, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
    spec = ModelSpec(
        name="x", labels=("a", "b", "c"), input=InputSpec(height=16, width=16), resize=Resize(mode="stretch")
    )
    normalise = Normalise(mean=(127.5,) * 3, std=(127.5,) * 3)
    network = Deployed(KerasModule(model, "NHWC"), normalise, layout="NHWC").eval()
    job = Job(
        lazy_network=Source(network=network, spec=spec, sha256="").lazy_network(),
        spec=spec,
        calibration=None,
        quantize=QuantizeConfig(),
    )
    export_onnx.run(job, None, tmp_path / "x.onnx")
    graph = onnx.load(tmp_path / "x.onnx").graph
    constants = {tensor.name for tensor in graph.initializer}
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert all(node.input[1] in constants for node in convolutions)
    assert [node.name for node in convolutions] == ["conv2d", "conv2d_1"]


def test_a_function_may_return_a_keras_model(
    keras: Any, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_keras_net.py").write_text(
        "import keras\n"
        "def build():\n"
        "    x = inputs = keras.Input((24, 20, 3))\n"
        "    x = keras.layers.Conv2D(8, 3, strides=2, padding='same')(x)\n"
        "    x = keras.layers.BatchNormalization()(x)\n"
        "    x = keras.layers.GlobalAveragePooling2D()(x)\n"
        "    return keras.Model(inputs, keras.layers.Dense(3)(x))\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    missing = Missing(labels=labels, resize="stretch", mean=(0.0,) * 3, std=(255.0,) * 3)
    source = resolve("my_keras_net:build", missing)
    assert (source.spec.input.height, source.spec.input.width) == (24, 20)
    images = np.random.default_rng(1).integers(0, 256, (2, 24, 20, 3), dtype=np.uint8)
    want = source.network.network.model.predict_on_batch(images / np.float32(255))
    with torch.inference_mode():
        got = source.network(torch.from_numpy(images)).numpy()
    assert np.abs(got - want).max() <= 1e-4 * np.ptp(want)


def test_random_weights_are_the_same_every_time(keras: Any, labels: Path) -> None:
    missing = Missing(labels=labels, resize="crop", input_size=(32, 32), weights="none")
    first, second = (resolve("keras:MobileNet", missing).sha256 for _ in range(2))
    assert first == second


def test_a_users_weights_are_loaded(keras: Any, labels: Path, tmp_path: Path) -> None:
    theirs = keras.applications.MobileNet(weights=None, classes=3, classifier_activation=None, input_shape=(32, 32, 3))
    path = tmp_path / "mine.weights.h5"
    theirs.save_weights(path)
    source = resolve("keras:MobileNet", Missing(labels=labels, resize="crop", input_size=(32, 32), weights=str(path)))
    images = noise(32)
    want = theirs.predict_on_batch(images / np.float32(127.5) - 1)
    with torch.inference_mode():
        got = source.network(torch.from_numpy(images)).numpy()
    assert np.abs(got - want).max() <= 1e-4 * np.ptp(want)


def test_refuses_weights_of_another_network(keras: Any, labels: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(path)
    missing = Missing(labels=labels, resize="crop", input_size=(32, 32), weights=str(path))
    with pytest.raises(WeightsError, match="not of keras:MobileNet"):
        resolve("keras:MobileNet", missing)


def test_asks_for_the_resize_that_keras_does_not_state(keras: Any, labels: Path) -> None:
    with pytest.raises(SpecError, match="--resize crop, stretch or letterbox"):
        resolve("keras:MobileNet", Missing(labels=labels, input_size=(32, 32), weights="none"))


def test_asks_for_the_labels_of_random_weights(keras: Any) -> None:
    with pytest.raises(SpecError, match="random weights know no classes: give --labels"):
        resolve("keras:MobileNet", Missing(resize="crop", weights="none"))


def test_names_the_near_ones_of_an_unknown_network(keras: Any) -> None:
    with pytest.raises(BadInputError, match=r"did you mean .*MobileNetV2"):
        resolve("keras:mobilenetv2", Missing())


def test_says_what_to_do_without_a_network(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(BadInputError, match=r"KERAS_HOME.*or give --weights FILE, or --weights none"):
        resolve("keras:MobileNet", Missing(resize="crop"))


def test_refuses_a_preprocessing_that_is_no_mean_and_std(keras: Any) -> None:
    with pytest.raises(SpecError, match="no mean and std of each channel"):
        scaling_of("keras:Some", lambda pixels: (pixels / 255) ** 2)


def test_leaves_keras_as_it_was(keras: Any, labels: Path) -> None:
    before = (keras.config.image_data_format(), np.random.get_state()[1].tolist())  # noqa: NPY002
    resolve("keras:MobileNet", Missing(labels=labels, resize="crop", input_size=(32, 32), weights="none"))
    assert (keras.config.image_data_format(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_imports_keras_on_torch_by_itself(tmp_path: Path) -> None:
    script = (
        "import os\n"
        "from edgex.networks.sources.keras import _import_keras\n"
        "print(_import_keras().backend.backend(), os.environ.get('KERAS_BACKEND'))\n"
    )
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "torch tensorflow"), done.stderr


def test_refuses_a_keras_on_another_backend(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(BadInputError, match="on its jax backend in this process: set KERAS_BACKEND=torch before"):
        resolve("keras:MobileNet", Missing())
