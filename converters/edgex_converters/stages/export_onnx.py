"""Network → ONNX fp32: opset 18, one file, dynamic batch, uint8 NHWC in, logits out."""

import warnings
from pathlib import Path

import onnx
import torch

from edgex_converters.stage import Job
from edgex_converters.stages.finish_onnx import INPUT as INPUT
from edgex_converters.stages.finish_onnx import OPSET, OUTPUT, finish
from edgex_runtime.errors import StageError


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
            # It never writes a lower one.
            opset_version=OPSET,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65535)},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    model = finish(onnx.load(destination))
    onnx.save(model, destination)
    _require(model)


def _require(model: onnx.ModelProto) -> None:
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("") != OPSET:
        raise StageError(f"export_onnx: want opset {OPSET}, the exporter wrote {opsets}")
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    if not batch.dim_param:
        raise StageError(f"export_onnx: want a dynamic batch, the exporter fixed it at {batch.dim_value}")
