"""Tiny real models, built on the fly: one small network with the same weights in every format."""

import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgex_runtime.golden import load_golden_images
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.preprocess import to_input
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize

SIDE = 32
LABELS = ("daisy", "dandelion", "rose of sharon", "sunflower", "tulip")


@dataclass(frozen=True, kw_only=True)
class TinyWeights:
    """(pixel − mean) / std → conv 3×3/2, ReLU → conv 3×3/2, ReLU → mean over the picture → linear."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    conv1: NDArray[np.float32]
    conv2: NDArray[np.float32]
    linear: NDArray[np.float32]


@pytest.fixture(scope="session")
def tiny_spec() -> ModelSpec:
    return ModelSpec(
        name="tiny",
        labels=LABELS,
        input=InputSpec(height=SIDE, width=SIDE),
        resize=Resize(mode="crop", crop_fraction=0.875),
        normalise=Normalise(mean=(123.0, 117.0, 104.0), std=(58.0, 57.0, 57.0)),
    )


@pytest.fixture(scope="session")
def tiny_weights(tiny_spec: ModelSpec) -> TinyWeights:
    return random_weights(tiny_spec, np.random.default_rng(7))


def random_weights(spec: ModelSpec, rng: np.random.Generator) -> TinyWeights:
    assert spec.normalise is not None
    linear = rng.normal(size=(len(spec.labels), 16)).astype(np.float32)
    return TinyWeights(
        mean=np.float32(spec.normalise.mean),
        std=np.float32(spec.normalise.std),
        conv1=(rng.normal(size=(8, 3, 3, 3)) * 0.3).astype(np.float32),
        conv2=(rng.normal(size=(16, 8, 3, 3)) * 0.2).astype(np.float32),
        # Sums to zero over the features: the logits then follow the picture, not a constant offset of each class.
        linear=linear - linear.mean(axis=1, keepdims=True),
    )


def write_onnx(
    path: Path, weights: TinyWeights, *, batch: int | str = "batch", to_nchw: tuple[int, ...] = (0, 3, 1, 2)
) -> Path:
    """uint8 NHWC in, logits out, everything inside the graph."""
    tensors = {name: getattr(weights, name) for name in ("conv1", "conv2")}
    tensors |= {"mean": weights.mean, "std": weights.std, "linear": weights.linear.T.copy()}
    conv = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["cast", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["nchw"], perm=to_nchw),
        helper.make_node("Conv", ["nchw", "conv1"], ["c1"], **conv),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "conv2"], ["c2"], **conv),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "linear"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, weights.linear.shape[0]])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def write_openvino(path: Path, source: Path) -> Path:
    openvino.save_model(openvino.Core().read_model(source), path, compress_to_fp16=False)
    return path


def write_headers_only(path: Path) -> Path:
    """A safetensors file without a tensor: what the fake engine runs."""
    path.write_bytes(struct.pack("<Q", 8) + b"{}      ")
    return path


def write_tflite(path: Path, weights: TinyWeights) -> Path:
    """The same network by way of torch; the import alone takes seconds."""
    with warnings.catch_warnings():
        # Its import touches names that numpy and jax have deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import litert_torch
    import torch

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False)
            self.conv2 = torch.nn.Conv2d(8, 16, 3, 2, 1, bias=False)
            self.linear = torch.nn.Linear(16, len(weights.linear), bias=False)
            for name in ("conv1", "conv2", "linear"):
                getattr(self, name).weight.data = torch.from_numpy(getattr(weights, name))
            self.register_buffer("mean", torch.from_numpy(weights.mean))
            self.register_buffer("std", torch.from_numpy(weights.std))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = ((image.float() - self.mean) / self.std).permute(0, 3, 1, 2)
            x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
            return self.linear(torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))

    example = (torch.zeros((1, SIDE, SIDE, 3), dtype=torch.uint8),)
    with warnings.catch_warnings():
        # torch.export of torch 2.13 warns of its own internals.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
        litert_torch.convert(Tiny().eval(), example).export(str(path))
    return path


@pytest.fixture(scope="session")
def make_onnx() -> Callable[..., Path]:
    """`write_onnx`, for tests that want another graph than the usual one."""
    return write_onnx


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory, tiny_weights: TinyWeights) -> Path:
    return write_onnx(tmp_path_factory.mktemp("onnx") / "tiny.onnx", tiny_weights)


@pytest.fixture(scope="session")
def make_weights() -> Callable[..., TinyWeights]:
    """`random_weights`, for tests that want another network of the same shape."""
    return random_weights


@pytest.fixture(scope="session")
def tiny_int8_onnx(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Path, tiny_spec: ModelSpec) -> Path:
    """The same network, quantised by onnxruntime as the converters do."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class GoldenImages(CalibrationDataReader):
        def __init__(self) -> None:
            images = [image.image for image in load_golden_images()]
            self.batches = iter([{"image": to_input([image], tiny_spec)} for image in images])

        def get_next(self) -> dict[str, NDArray[np.generic]] | None:
            return next(self.batches, None)

    path = tmp_path_factory.mktemp("int8") / "tiny-int8.onnx"
    quantize_static(
        tiny_onnx,
        path,
        GoldenImages(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        extra_options={"ForceQuantizeNoInputCheck": False},
    )
    return path


@pytest.fixture(scope="session")
def tiny_openvino(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: Path) -> Path:
    return write_openvino(tmp_path_factory.mktemp("openvino") / "tiny.xml", tiny_onnx)


@pytest.fixture(scope="session")
def tiny_tflite(tmp_path_factory: pytest.TempPathFactory, tiny_weights: TinyWeights) -> Path:
    return write_tflite(tmp_path_factory.mktemp("tflite") / "tiny.tflite", tiny_weights)


@pytest.fixture(scope="session")
def tiny_int8_tflite(tmp_path_factory: pytest.TempPathFactory, tiny_tflite: Path, tiny_spec: ModelSpec) -> Path:
    """The same network, quantised by ai-edge-quantizer as the converters do."""
    from ai_edge_quantizer import quantizer, recipe

    images = [{"args_0": to_input([image.image], tiny_spec)} for image in load_golden_images()]
    path = tmp_path_factory.mktemp("int8") / "tiny-int8.tflite"
    with warnings.catch_warnings():
        # Calibration reads every tensor, against which the interpreter warns whoever is not debugging.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
        quantiser = quantizer.Quantizer(str(tiny_tflite), recipe.static_wi8_ai8())
        ranges = quantiser.calibrate({"serving_default": images})
        quantiser.quantize(ranges).export_model(str(path))
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_spec: ModelSpec) -> Path:
    """The narrowest Xception with random weights; the torch engine runs nothing else."""
    import torch

    from edgex.networks.checkpoint import save_checkpoint
    from edgex.networks.xception import NORMALISE, Xception, XceptionConfig

    config = XceptionConfig(width=0.05, middle_blocks=1, image_size=SIDE, classes=len(LABELS))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = Xception(config)
        # Fresh batch-norms pass everything on and the last layer averages it: without this all pictures look alike.
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.data *= 2
    path = tmp_path_factory.mktemp("torch") / "tiny.safetensors"
    save_checkpoint(path, network.eval(), replace(tiny_spec, normalise=NORMALISE))
    return path


@pytest.fixture(scope="session")
def tiny_fake(tmp_path_factory: pytest.TempPathFactory, tiny_spec: ModelSpec) -> Path:
    path = write_headers_only(tmp_path_factory.mktemp("fake") / "tiny.safetensors")
    write_spec(path, tiny_spec)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or leaves a verdict in the user's cache."""
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
