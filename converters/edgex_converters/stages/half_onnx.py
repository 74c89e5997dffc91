"""ONNX fp32 → fp16: weights and arithmetic in half precision, uint8 in and float32 logits out as before."""

import warnings
from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgex_converters.stage import Job


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Convert; a weight outside of half precision's range is clipped, and the gate says whether that mattered."""
    assert source is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # One line for each weight below 1e-7: the gate measures what they are worth.
        model = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    onnx.save(model, destination)
