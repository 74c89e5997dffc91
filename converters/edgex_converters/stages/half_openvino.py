"""OpenVINO IR fp32 → fp16: weights stored in half precision."""

from pathlib import Path

import openvino

from edgex_converters.stage import Job


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Convert."""
    openvino.save_model(openvino.Core().read_model(source), destination, compress_to_fp16=True)
