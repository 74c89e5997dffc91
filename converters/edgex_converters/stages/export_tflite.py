"""Network → TFLite fp32 by LiteRT's converter: NHWC, batch 1, no TensorFlow."""

import warnings
from pathlib import Path

import litert_torch
import torch

from edgex_converters.stage import Job


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Export the network; the converter cancels our NHWC → NCHW permutation against its own."""
    example = torch.zeros((1, job.spec.input.height, job.spec.input.width, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The converter's own deprecations; nothing in them concerns the model.
        litert_torch.convert(job.network, (example,)).export(str(destination))
