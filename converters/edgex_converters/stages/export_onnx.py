"""Network → ONNX fp32: opset 18, one file, dynamic batch, uint8 NHWC in, logits out."""

import warnings
from pathlib import Path

import onnx
import torch

from edgex_converters.graph import layer_name
from edgex_converters.stage import Job
from edgex_converters.stages.fold import fold_input_scaling
from edgex_runtime.errors import StageError

# JetPack 6 stays at onnxruntime 1.23, which reads IR 10 and opset 18; the exporter never writes a lower opset.
OPSET = 18
IR_VERSION = 10
INPUT = "image"
OUTPUT = "logits"


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Export the network.

    Raises:
        StageError: If what came out is not what was asked for; the exporter itself stays silent about that.
    """
    size = (job.spec.input.height, job.spec.input.width)
    # Two images, since the exporter takes a dimension of 1 for a constant.
    example = torch.zeros((2, *size, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The exporter's own deprecations; nothing in them concerns the model.
        torch.onnx.export(
            job.network,
            (example,),
            str(destination),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65535)},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    model = onnx.load(destination)
    name_layers(model)
    fold_input_scaling(model)
    _strip(model)
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, destination)
    _require(model)


def name_layers(model: onnx.ModelProto) -> None:
    """Call each op with weights as the network calls its layer; quantisers and OpenVINO keep the name.

    The exporter names initializers by the state dict, ops by a counter.
    """
    layers = {tensor.name: layer_name(tensor.name) for tensor in model.graph.initializer if _is_weight(tensor)}
    for node in model.graph.node:
        if len(node.input) > 1 and node.input[1] in layers:
            node.name = layers[node.input[1]]


def _is_weight(tensor: onnx.TensorProto) -> bool:
    return tensor.name.endswith(".weight") and len(tensor.dims) > 1


def _strip(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes of this machine's source files; the nodes' names stay."""
    del model.metadata_props[:]
    for item in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del item.metadata_props[:]
        item.doc_string = ""
    model.doc_string = ""


def _require(model: onnx.ModelProto) -> None:
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("") != OPSET:
        raise StageError(f"export_onnx: want opset {OPSET}, the exporter wrote {opsets}")
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    if not batch.dim_param:
        raise StageError(f"export_onnx: want a dynamic batch, the exporter fixed it at {batch.dim_value}")
