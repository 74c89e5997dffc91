"""ONNX fp32 → OpenVINO IR fp32: an .xml and the .bin beside it."""

from pathlib import Path

import openvino

from edgex_converters.stage import Job
from edgex_converters.stages.openvino_names import number_by_place


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Convert."""
    model = openvino.convert_model(source)
    number_by_place(model)
    # save_model compresses to fp16 unless told otherwise.
    openvino.save_model(model, destination, compress_to_fp16=False)
