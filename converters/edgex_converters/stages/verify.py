"""Runs an artifact, in the engine that will run it, on the evaluation images, and measures it against the reference."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_converters.evaluation import EvaluationSet
from edgex_converters.gates import Measurement
from edgex_runtime import evaluate
from edgex_runtime.engines.engine import Engine, EngineOptions
from edgex_runtime.engines.registry import open_engine

Progress = Callable[[int, int], None]


def measure(
    path: Path, images: EvaluationSet, *, threads: int | None, progress: Progress
) -> tuple[Measurement, NDArray[np.float32]]:
    """Measure one artifact.

    Args:
        path: The model file.
        images: Prepared evaluation images with the reference's logits.
        threads: For the engine.
        progress: Called with (done, all) after each image.

    Returns:
        The figures, and the artifact's logits, (N, classes).
    """
    engine = open_engine(path, EngineOptions(threads=threads))
    try:
        logits, times_ms = _run(engine, images, progress)
    finally:
        engine.close()
    correct = int((logits.argmax(1) == images.labels).sum())
    accuracy = evaluate.wilson(correct, len(images))
    return (
        Measurement(
            images=len(images),
            accuracy=accuracy.value,
            accuracy_low=accuracy.low,
            accuracy_high=accuracy.high,
            reference_accuracy=images.reference_accuracy,
            agreement=evaluate.agreement(images.reference, logits),
            difference=evaluate.max_abs_difference_of_range(images.reference, logits),
            sqnr_db=evaluate.sqnr_db(images.reference, logits),
            ms=statistics.median(times_ms),
        ),
        logits,
    )


def _run(engine: Engine, images: EvaluationSet, progress: Progress) -> tuple[NDArray[np.float32], list[float]]:
    """One image at a time: the batch that a camera has."""
    logits, times_ms = [], []
    for index in range(len(images)):
        batch = np.ascontiguousarray(images.inputs[index : index + 1])
        start_ns = time.perf_counter_ns()
        logits.append(engine.run(batch)[0])
        times_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
        progress(index + 1, len(images))
    return np.stack(logits), times_ms
