"""Planted faults are blamed at the layer, or the stage, that they were planted in."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray
from onnx import numpy_helper

from edgex_converters import blame as blaming
from edgex_converters.blame import Blame, blame, logits_of, ratio, read, read_network
from edgex_converters.evaluation import spread_over
from edgex_converters.graph import require_match
from edgex_converters.recipes import plan
from edgex_converters.stage import Job
from edgex_converters.stages import alone_onnx, export_openvino, reference
from edgex_converters.stages.blame_tflite import layer_of
from edgex_converters.stages.simulate import Simulation
from edgex_converters.target import FORMATS, Format, Target
from edgex_runtime import image, preprocess
from edgex_runtime.dataset import scan
from edgex_runtime.errors import BadInputError, StageError

every_format = pytest.mark.parametrize("kind", FORMATS)
CHANNEL = 3

# (weight in torch's layout, bias or None), both to be changed in place.
Edit = Callable[[NDArray[np.float32], NDArray[np.float32] | None], None]


def plant_onnx(source: Path, destination: Path, edits: dict[str, Edit]) -> Path:
    """Change the weights of the named layers of an ONNX file."""
    model = onnx.load(source)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name in edits:
            tensors = [stored[name] for name in node.input[1:]]
            arrays = [numpy_helper.to_array(tensor).copy() for tensor in tensors]
            edits[node.name](arrays[0], arrays[1] if len(arrays) > 1 else None)
            for tensor, array in zip(tensors, arrays, strict=True):
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, destination)
    return destination


def transpose_image(source: Path, destination: Path) -> Path:
    """Have an ONNX file take rows for columns: the fault of a graph made for another layout."""
    model = onnx.load(source)
    node = next(node for node in model.graph.node if node.op_type == "Transpose")
    node.attribute[0].ints[:] = [0, 3, 2, 1]
    onnx.save(model, destination)
    return destination


def plant_tflite(source: Path, destination: Path, edits: dict[str, Edit]) -> Path:
    """Change the weights of the named layers of a TFLite file."""
    model = flatbuffer_utils.read_model(str(source))
    tensors = model.subgraphs[0].tensors
    for operator in model.subgraphs[0].operators:
        constants = [tensors[index] for index in operator.inputs[1:3]]
        name = layer_of(constants[0].name.decode()) if constants else ""
        if name in edits:
            _edit(model, constants, edits[name])
    flatbuffer_utils.write_model(model, str(destination))
    return destination


def _edit(model: Any, constants: list[Any], edit: Edit) -> None:
    weight, bias = (
        np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32).reshape(tensor.shape).copy()
        for tensor in constants
    )
    axes = (3, 0, 1, 2) if weight.shape[0] == 1 and weight.ndim == 4 else (0, 3, 1, 2)[: weight.ndim]
    turned = weight.transpose(axes)  # A view: what changes in it changes in `weight`.
    edit(turned, bias)
    for tensor, array in zip(constants, (weight, bias), strict=True):
        # A buffer of its own: the converter lets layers share equal ones.
        model.buffers.append(type(model.buffers[0])())
        model.buffers[-1].data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        tensor.buffer = len(model.buffers) - 1


@pytest.fixture(scope="module")
def images(made) -> np.ndarray:
    return load(made, "val", 6)


@pytest.fixture(scope="module")
def job(made) -> Job:
    photos = load(made, "train", 32)
    return Job(
        lazy_network=made.source.lazy_network(),
        spec=made.source.spec,
        calibration=photos,
        quantize=made.config.quantize,
    )


def load(made, part: str, count: int) -> np.ndarray:
    files, spec = scan(made.photos / part).files, made.source.spec
    chosen = [files[index].path for index in spread_over(len(files), count)]
    return np.stack([preprocess.resize(image.read_image(path), spec.input, spec.resize) for path in chosen])


def plain(photos: np.ndarray) -> np.ndarray:
    """Each photo's mean colour all over it."""
    return np.broadcast_to(photos.mean((1, 2), keepdims=True), photos.shape).astype(np.uint8)


def artifact(made, kind: Format, precision: str) -> Path:
    return made.out / Target(kind, precision).filename("colours")


def plant(made, kind: Format, folder: Path, edits: dict[str, Edit]) -> Path:
    """The format's fp32 artifact with changed weights."""
    if kind == "tflite":
        return plant_tflite(artifact(made, kind, "fp32"), folder / "planted.tflite", edits)
    planted = plant_onnx(artifact(made, "onnx", "fp32"), folder / "planted.onnx", edits)
    return planted if kind == "onnx" else as_openvino(planted)


def as_openvino(path: Path) -> Path:
    export_openvino.run(None, path, path.with_suffix(".xml"))  # type: ignore[arg-type]
    return path.with_suffix(".xml")


def quantise(job: Job, kind: Format, fp32: Path) -> Path:
    target = Target(kind, "int8")
    destination = fp32.with_name(f"int8{fp32.suffix}")
    plan([target])[-1].load()(job, fp32, destination)
    return destination


def blame_files(path: Path, against: Path, images: np.ndarray) -> Blame:
    return blame(path, read(against), images, logits_of(against, images), threads=1)


def blame_network(made, path: Path, images: np.ndarray) -> Blame:
    network = made.source.lazy_network().get()
    return blame(
        path, read_network(network), images, reference.run(network, images, lambda done, total: None), threads=1
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@every_format
def test_every_format_has_the_networks_layers_by_its_names(made, kind: Format, precision: str) -> None:
    """Names alone could be mistaken; the weights under them prove that they are not."""
    reference, found = read_network(made.source.lazy_network().get()), read(artifact(made, kind, precision))
    require_match(reference, found)
    layers = {
        name.removeprefix("network.").replace(".", "_")
        for name, module in made.source.lazy_network().get().named_modules()
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))
    }
    assert layers < set(found.names)
    for place in reference.places:
        likeness = blaming.cosine(place.weight, found[place.name].weight)
        assert likeness is None or likeness > 0.999, place.name


@every_format
def test_a_good_artifact_is_explained(made, images: np.ndarray, kind: Format) -> None:
    found = blame_files(artifact(made, kind, "int8"), artifact(made, kind, "fp32"), images)
    assert sum(layer.share for layer in found.layers) == pytest.approx(1.0)
    assert found.unexplained < 0.1  # The engine rounds between ops where the simulation does not.
    assert all(layer.cosine > 0.9 for layer in found.layers)
    shares = [layer.share for layer in found.layers]
    assert shares == sorted(shares, reverse=True)


def test_shares_are_those_of_the_real_engine(made, images: np.ndarray) -> None:
    """One layer quantised at a time in onnxruntime itself: what the simulation estimates."""
    fp32, int8 = artifact(made, "onnx", "fp32"), artifact(made, "onnx", "int8")
    wanted = logits_of(fp32, images)
    exact = {
        name: blaming.energy(alone_onnx.logits(fp32, int8, name, images) - wanted) for name in alone_onnx.layers(fp32)
    }
    shares = {layer.name: layer.share for layer in blame_files(int8, fp32, images).layers if layer.name in exact}
    among_layers = sum(shares.values())
    for name, energy in exact.items():
        # A value on the edge between two codes may round either way in the engine.
        assert shares[name] / among_layers == pytest.approx(energy / sum(exact.values()), abs=0.01), name


def test_the_demo_of_a_file_against_itself_blames_nothing(made, images: np.ndarray) -> None:
    path = artifact(made, "onnx", "fp32")
    found = blame_files(path, path, images)
    assert {layer.share for layer in found.layers if layer.sqnr_db > 120} == {0.0}
    assert found.worst() == ""


@every_format
def test_blames_a_depthwise_channel_that_outgrew_the_others(
    made, job: Job, images: np.ndarray, kind: Format, tmp_path: Path
) -> None:
    """×100 in one depthwise channel, ÷100 in the pointwise that reads it: the same function, other ranges.

    Both of the two suffer: the depthwise's range is a hundred times too wide, the pointwise's weights of that channel
    round to zero.
    """
    # Pictures of one colour each: the noise of the others dithers, and the pool averages the rounding away.
    images = plain(images)
    if kind != "openvino":  # NNCF would learn the rounding of plain colours by heart, and correct the biases for it.
        quantize = replace(job.quantize, activation_range="minmax")
        job = replace(job, calibration=plain(job.calibration_images), quantize=quantize)

    depthwise, pointwise = "block2_sepconv2_depthwise", "block2_sepconv2_pointwise"
    values = Simulation(read(artifact(made, kind, "fp32"))).run(images)[depthwise]
    channel = int(values.abs().amax((0, 2, 3)).argmax())  # One that matters.

    def amplify(weight: np.ndarray, bias: np.ndarray | None) -> None:
        weight[channel] *= 100
        if bias is not None:
            bias[channel] *= 100

    def attenuate(weight: np.ndarray, _: np.ndarray | None) -> None:
        weight[:, channel] /= 100

    planted = plant(made, kind, tmp_path, {depthwise: amplify, pointwise: attenuate})
    np.testing.assert_allclose(
        logits_of(planted, images), logits_of(artifact(made, kind, "fp32"), images), atol=1e-3
    )  # ×100 ÷100 in float32.
    found = blame_files(quantise(job, kind, planted), planted, images)
    first, second = (layer.name for layer in found.layers[:2])
    # Which of the two suffers more depends on the network that was trained.
    assert first in (depthwise, pointwise)
    assert depthwise in (first, second)


@every_format
def test_blames_an_outlier_activation(made, job: Job, images: np.ndarray, kind: Format, tmp_path: Path) -> None:
    """One channel far above all others, which nothing reads: the other channels share what codes are left."""

    def raise_channel(_: np.ndarray, bias: np.ndarray | None) -> None:
        assert bias is not None
        bias[CHANNEL] += 5000

    def ignore_channel(weight: np.ndarray, _: np.ndarray | None) -> None:
        weight[:, CHANNEL] = 0

    planted = plant(made, kind, tmp_path, {"block1_conv1": raise_channel, "block1_conv2": ignore_channel})
    found = blame_files(quantise(job, kind, planted), planted, images)
    assert found.layers[0].name == "block1_conv1"
    assert found.layers[0].share > 0.8
    assert "block1_conv1" in found.worst()


@every_format
def test_blames_a_broken_fold(made, images: np.ndarray, kind: Format, tmp_path: Path) -> None:
    """Batch-norm's gain applied wrongly in one layer of the export: the fp32 file differs from the network."""

    def wrong_gain(weight: np.ndarray, _: np.ndarray | None) -> None:
        weight *= np.linspace(0.5, 1.5, len(weight), dtype=np.float32).reshape(-1, 1, 1, 1)

    found = blame_network(made, plant(made, kind, tmp_path, {"block6_sepconv1_pointwise": wrong_gain}), images)
    assert found.layers[0].name == "block6_sepconv1_pointwise"
    assert found.layers[0].share > 0.99
    assert found.layers[0].weights is not None
    assert found.layers[0].weights < 0.99
    # Its successors get wrong inputs and do nothing wrong with them.
    assert [layer.name for layer in found.layers if layer.own_sqnr_db < 60] == ["block6_sepconv1_pointwise"]


@every_format
def test_blames_swapped_channels(made, job: Job, images: np.ndarray, kind: Format, tmp_path: Path) -> None:
    def swap(weight: np.ndarray, bias: np.ndarray | None) -> None:
        weight[:] = weight[::-1].copy()
        if bias is not None:
            bias[:] = bias[::-1].copy()

    planted = plant(made, kind, tmp_path, {"block5_sepconv2_pointwise": swap})
    found = blame_files(quantise(job, kind, planted), artifact(made, kind, "fp32"), images)
    # TFLite's moving average clips this network's logits: what that costs may weigh as much as the planted fault.
    assert "block5_sepconv2_pointwise" in [layer.name for layer in found.layers[:2]]
    assert min(found.layers, key=lambda layer: layer.own_sqnr_db).name == "block5_sepconv2_pointwise"


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_blames_an_image_of_another_layout(made, images: np.ndarray, kind: Format, tmp_path: Path) -> None:
    turned = transpose_image(artifact(made, "onnx", "fp32"), tmp_path / "turned.onnx")
    found = blame_network(made, turned if kind == "onnx" else as_openvino(turned), images)
    assert (found.layers[0].name, found.layers[0].kind) == ("image", "image")
    assert found.layers[0].share > 0.99


@every_format
def test_blames_a_kernel_of_another_layout(made, images: np.ndarray, kind: Format, tmp_path: Path) -> None:
    def turn(weight: np.ndarray, _: np.ndarray | None) -> None:
        weight[:] = weight.transpose(0, 1, 3, 2).copy()

    found = blame_network(made, plant(made, kind, tmp_path, {"block4_sepconv1_depthwise": turn}), images)
    assert found.layers[0].name == "block4_sepconv1_depthwise"
    assert found.layers[0].share > 0.99


def test_refuses_another_network(made, images: np.ndarray, tmp_path: Path) -> None:
    path = artifact(made, "onnx", "fp32")
    graph = read(path)
    fewer = type(graph)(places=graph.places[:-1], output=graph.places[-2].name)
    with pytest.raises(StageError, match="head_predictions: the reference has no such place"):
        blame(path, fewer, images, logits_of(path, images))


def test_refuses_a_reference_that_is_not_what_was_read(made, images: np.ndarray) -> None:
    path = artifact(made, "onnx", "fp32")
    with pytest.raises(StageError, match="want the reference's logits within"):
        blame(path, read(path), images, logits_of(path, images) + 1)


def test_refuses_a_file_without_layers_to_read(made, images: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="want a model whose layers can be read"):
        read(made.checkpoint)


def test_shares_error_is_that_of_resampling() -> None:
    rng = np.random.default_rng(0)
    wholes = rng.uniform(1, 2, 400)
    parts = wholes * rng.uniform(0.2, 0.4, 400)
    share, error = ratio(parts, wholes)
    draws = rng.integers(0, 400, (2000, 400))
    resampled = parts[draws].sum(1) / wholes[draws].sum(1)
    assert share == pytest.approx(resampled.mean(), rel=0.01)
    assert error == pytest.approx(resampled.std(), rel=0.1)
