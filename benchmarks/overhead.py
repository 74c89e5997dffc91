"""What `Model.predict` adds to the engine: both measured in turns, in one run, on a 1280 × 720 frame in memory.

    python benchmarks/overhead.py MODEL ... [--threads N] [--rounds N]

The two are interleaved so that whatever else the machine does falls on both alike; medians. What has to hold: at most
5 % more for Xception at 299, and at most 1.5 ms more for any model.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edgex import Model
from edgex_runtime.preprocess import to_input

FRAME_SIZE = (720, 1280, 3)
WARM_UP_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Medians in milliseconds; `added_ms` is the median of the rounds' differences."""

    engine_ms: float
    predict_ms: float
    added_ms: float

    @property
    def added_share(self) -> float:
        """Of the engine's time."""
        return self.added_ms / self.engine_ms


def measure(model: Model, rounds: int) -> Overhead:
    """Time the bare engine and the whole of `predict` in turns."""
    frame = np.random.default_rng(0).integers(0, 256, FRAME_SIZE, dtype=np.uint8)
    batch = to_input([frame], model.spec)
    for _ in range(WARM_UP_ROUNDS):
        model.engine.run(batch)
        model.predict(frame)
    bare, whole = [], []
    for _ in track(range(rounds), model.spec.name, console=Console(stderr=True), disable=not sys.stderr.isatty()):
        started = perf_counter()
        model.engine.run(batch)
        between = perf_counter()
        model.predict(frame)
        bare.append((between - started) * 1e3)
        whole.append((perf_counter() - between) * 1e3)
    return Overhead(
        engine_ms=median(bare),
        predict_ms=median(whole),
        added_ms=median(b - a for a, b in zip(bare, whole, strict=True)),
    )


def main() -> None:
    """Print one line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    table = Table("model", "engine", title=f"1280 × 720 frame, {options.threads} threads, {options.rounds} rounds")
    for heading in ("engine ms", "predict ms", "added ms", "added %"):
        table.add_column(heading, justify="right")
    for path in options.models:
        with Model(path, threads=options.threads) as model:
            overhead = measure(model, options.rounds)
            figures = (overhead.engine_ms, overhead.predict_ms, overhead.added_ms, overhead.added_share * 100)
            table.add_row(path.name, model.engine.info.name, *(f"{figure:.2f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
