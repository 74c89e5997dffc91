"""`model.onnx`: a classifier that others made and no torch network stands behind; its graph says layout and size."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper

from edgex.networks.sources.contract import contract_of
from edgex.networks.sources.facts import Facts, Missing, Size
from edgex_converters.keys import code_digest
from edgex_converters.source import LazyNetwork, OnnxFile, Source
from edgex_runtime.admission import admit
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.metadata.registry import read_native_labels, read_spec
from edgex_runtime.preprocess import to_input
from edgex_runtime.provenance import file_sha256
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize

_ENGINE = "onnxruntime"
_QUANTISED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear")
# What only moves values and may stand behind a softmax.
_MOVES = ("Identity", "Reshape", "Flatten", "Squeeze", "Cast")


def source_of(path: Path, missing: Missing) -> Source:
    """Read a file and run it once.

    Raises:
        ModelFileError: If onnxruntime cannot open it.
        BadInputError: If it is no float classifier of images that ends in logits, or one of our artifacts.
        SpecError: If something is said by neither the file nor the user.
    """
    if missing.weights is not None:
        raise BadInputError(f"{path}: it carries its own weights: leave --weights out")
    if read_spec(path) is not None:
        raise BadInputError(f"{path}: it is an artifact that edgex made: convert the checkpoint that it came from")
    # onnxruntime opens it first, in another process: what passes there is a model that can be read here.
    admit(path, EngineOptions(device="cpu"), _ENGINE)
    model = onnx.load(path, load_external_data=False)
    layout, size = _images(path, model.graph)
    _refuse_softmax(path, model.graph)
    _refuse_quantised(path, model.graph)
    digest = _sha256(path, model)
    facts = Facts(title=path.stem, sha256=digest, labels=read_native_labels(path), input_size=size)
    spec = contract_of(str(path), facts, missing, asks_color=True)
    if size is not None and (spec.input.height, spec.input.width) != size:
        raise SpecError(f"{path}: its input is {size[0]}x{size[1]} and cannot be another: leave --input-size out")
    file = OnnxFile(path=path, spec=_its_own(spec, layout, missing.color or "RGB"))
    _require_logits(file, spec)
    identity = f"{digest} {missing.color} {code_digest(Path(__file__).parent)}"
    return Source(network=LazyNetwork(partial(_same, file), identity, "onnx"), spec=spec, sha256=digest)


def _same(file: OnnxFile) -> OnnxFile:
    """To another process goes where the file stands."""
    return file


def _images(path: Path, graph: Any) -> tuple[Literal["NCHW", "NHWC"], Size | None]:
    """Layout and size of the one input; no size where it is free."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise BadInputError(
            f"{path}: want one input of images and one output of logits, found {len(inputs)} and {len(graph.output)}"
        )
    declared = inputs[0].type.tensor_type
    if declared.elem_type != TensorProto.FLOAT:
        found = TensorProto.DataType.Name(declared.elem_type).lower()
        raise BadInputError(f"{path}: want float32 images, found {found}: export the network in fp32, with float input")
    shape = [size.dim_value if size.HasField("dim_value") else 0 for size in declared.shape.dim]
    if len(shape) != 4 or (shape[1] == 3) == (shape[3] == 3):
        raise BadInputError(
            f"{path}: want (N, 3, H, W) or (N, H, W, 3) images, found {tuple(shape)} (0 is free): "
            "export it with its channels fixed"
        )
    layout: Literal["NCHW", "NHWC"] = "NCHW" if shape[1] == 3 else "NHWC"
    height, width = shape[2:] if layout == "NCHW" else shape[1:3]
    return layout, (height, width) if height and width else None


def _refuse_softmax(path: Path, graph: Any) -> None:
    """Gates and temperature want logits; what stands before the softmax has a name, by which it can be cut off."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None and node.op_type in _MOVES:
        node = makers.get(node.input[0])
    if node is None or node.op_type not in ("Softmax", "Sigmoid"):
        return
    weights = {tensor.name for tensor in graph.initializer}
    image = next(value.name for value in graph.input if value.name not in weights)
    raise BadInputError(
        f'{path}: want logits, it ends in a {node.op_type}: cut it off: python -c "import onnx.utils; '
        f"onnx.utils.extract_model('{path}', '{path.stem}-logits.onnx', ['{image}'], ['{node.input[0]}'])\""
    )


def _refuse_quantised(path: Path, graph: Any) -> None:
    found = next((node.op_type for node in graph.node if node.op_type in _QUANTISED), None)
    if found is not None:
        raise BadInputError(f"{path}: want a float network, it is quantised ({found}): give the file from before that")


def _sha256(path: Path, model: Any) -> str:
    """Of the file; with weights in files beside it, of the digests of all."""
    beside = sorted(
        {
            entry.value
            for tensor in external_data_helper._get_all_tensors(model)  # There is no public way to them.
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )
    # `admit` has opened the model, and with it these files: onnxruntime takes none from outside of its folder.
    digests = [file_sha256(path), *(file_sha256(path.parent / name) for name in beside)]
    return digests[0] if not beside else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _its_own(spec: ModelSpec, layout: Literal["NCHW", "NHWC"], color: Literal["RGB", "BGR"]) -> ModelSpec:
    """What the file takes, from images that have their size already."""
    assert spec.normalise is not None  # `contract_of` puts it there.
    mean, std = spec.normalise.mean, spec.normalise.std
    normalise = spec.normalise if color == "RGB" else Normalise(mean=mean[::-1], std=std[::-1])
    size = InputSpec(height=spec.input.height, width=spec.input.width, dtype="float32", layout=layout, color=color)
    return replace(spec, input=size, resize=Resize(mode="stretch"), normalise=normalise)


def _require_logits(file: OnnxFile, spec: ModelSpec) -> None:
    """Run two noisy images.

    Raises:
        BadInputError: If it refuses them, or gives anything but logits.
        SpecError: If it gives another number of logits than there are labels.
    """
    images = np.random.default_rng(0).integers(0, 256, (2, *spec.input.shape), dtype=np.uint8)
    engine = open_engine(file.path, EngineOptions(), _ENGINE)
    try:
        logits = engine.run(to_input(list(images), file.spec))
    finally:
        engine.close()
    if logits.shape != (2, len(spec.labels)):
        raise SpecError(
            f"{file.path}: want a label for each of the {logits.shape[1]} logits, got {len(spec.labels)} labels: "
            "give --labels FILE with as many lines"
        )
    if not np.isfinite(logits).all():
        raise BadInputError(f"{file.path}: want finite logits, got NaN or infinity on an image of noise")
    if (logits >= 0).all() and np.abs(logits.sum(1) - 1).max() < 1e-4:
        raise BadInputError(f"{file.path}: want logits, got probabilities: take what makes them off the network's end")
