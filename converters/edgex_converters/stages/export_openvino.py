"""ONNX fp32 → OpenVINO IR fp32: an .xml and the .bin beside it."""

from pathlib import Path

import openvino

from edgex_converters.stage import Job


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Convert."""
    # save_model compresses to fp16 unless told otherwise.
    openvino.save_model(openvino.convert_model(source), destination, compress_to_fp16=False)
