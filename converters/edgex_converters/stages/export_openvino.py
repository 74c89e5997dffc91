"""ONNX fp32 → OpenVINO IR fp32: an .xml and the .bin beside it."""

import re
from pathlib import Path

import openvino

from edgex_converters.stage import Job


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Convert."""
    model = openvino.convert_model(source)
    _number_by_place(model)
    # save_model compresses to fp16 unless told otherwise.
    openvino.save_model(model, destination, compress_to_fp16=False)


def _number_by_place(model: openvino.Model) -> None:
    """Rename what OpenVINO numbered by all nodes that this process ever made: the same graph gives the same bytes."""
    for place, node in enumerate(model.get_ordered_ops()):
        if re.fullmatch(rf"{node.get_type_name()}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}.{place}")
