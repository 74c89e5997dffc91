"""How long each artifact takes for one image: all in turn in one run, so that a noisy machine is fair to all."""

import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine

_WARM_UP = 2
_ROUNDS = 15
# Small networks are so quick that 15 runs say little: go on until this much time is spent, or 200 rounds.
_BUDGET_S = 3.0
_MOST_ROUNDS = 200


def time_artifacts(paths: Mapping[str, Path], inputs: NDArray[np.uint8], *, threads: int | None) -> dict[str, float]:
    """Median milliseconds of one `Engine.run` on one image.

    Args:
        paths: The artifacts, each under a name.
        inputs: (N, H, W, 3) uint8 RGB to draw from.
        threads: For every engine alike.
    """
    engines = {target: open_engine(path, EngineOptions(threads=threads)) for target, path in paths.items()}
    times_ms: dict[str, list[float]] = {target: [] for target in engines}
    try:
        started = time.perf_counter()
        for turn in range(_WARM_UP + _MOST_ROUNDS):
            image = np.ascontiguousarray(inputs[turn % len(inputs)][None])
            for target, engine in engines.items():
                start_ns = time.perf_counter_ns()
                engine.run(image)
                if turn >= _WARM_UP:
                    times_ms[target].append((time.perf_counter_ns() - start_ns) / 1e6)
            if turn + 1 >= _WARM_UP + _ROUNDS and time.perf_counter() - started > _BUDGET_S:
                break
    finally:
        for engine in engines.values():
            engine.close()
    return {target: statistics.median(values) for target, values in times_ms.items()}
