"""Runs an artifact, in the engine that will run it, on the evaluation images."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_converters.evaluation import Progress
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine


def run(
    path: Path, inputs: NDArray[np.uint8], *, threads: int | None, progress: Progress = lambda done, total: None
) -> NDArray[np.float32]:
    """Run one artifact, one image at a time: the batch that a camera has.

    Args:
        path: The model file.
        inputs: (N, H, W, 3) uint8 RGB, resized by the contract.
        threads: For the engine.
        progress: Called with (done, all) after each image.

    Returns:
        The artifact's logits, (N, classes).
    """
    engine = open_engine(path, EngineOptions(threads=threads))
    logits = []
    try:
        for index in range(len(inputs)):
            logits.append(engine.run(np.ascontiguousarray(inputs[index : index + 1]))[0])
            progress(index + 1, len(inputs))
    finally:
        engine.close()
    return np.stack(logits)
