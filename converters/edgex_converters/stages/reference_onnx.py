"""Runs an ONNX file that others made on the evaluation images, as it is: what every artifact of it is held to."""

import numpy as np
from numpy.typing import NDArray

from edgex_converters.evaluation import Progress
from edgex_converters.source import OnnxFile
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.preprocess import to_input

_BATCH = 8


def run(file: OnnxFile, inputs: NDArray[np.uint8], progress: Progress) -> NDArray[np.float32]:
    """Onnxruntime's answers, (N, classes) float32, from images that are scaled outside of the graph.

    Args:
        file: The file, and what it takes.
        inputs: (N, H, W, 3) uint8 RGB, resized by the contract.
        progress: Called with (done, all).
    """
    engine = open_engine(file.path, EngineOptions(), "onnxruntime")
    logits = []
    try:
        for start in range(0, len(inputs), _BATCH):
            images = inputs[start : start + _BATCH]
            logits.append(engine.run(to_input(list(images), file.spec)))
            progress(start + len(images), len(inputs))
    finally:
        engine.close()
    return np.concatenate(logits)
