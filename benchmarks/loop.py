"""What the frame loop leaves of the bare engine's rate: both on the same frames and threads, in turns, in one run.

    python benchmarks/loop.py MODEL ... [--threads N] [--frames N] [--rounds N]

The loop is measured with a file that it must show whole, and with a camera that is twice as fast as the engine; its
results go to a JSON-lines file behind its queue, as a user's would. What has to hold: 95 % for Xception at 299, and
80 % for a network of up to 3 ms. With a camera that is half as fast as the engine, or gives 60 frames a second if that
is less, every frame is classified, and what counts is how old it is then.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edgex import Model
from edgex_runtime.clock import SystemClock
from edgex_runtime.live import LiveOptions, run_live
from edgex_runtime.preprocess import to_input
from edgex_runtime.sinks.registry import Surroundings, open_queued
from edgex_runtime.sources.source import Frame, SourceInfo
from edgex_runtime.summary import LiveSummary

FRAME_SIZE = (480, 640, 3)
PICTURES = 16
USUAL_FPS = 60.0
CLOCK = SystemClock()


class Memory:
    """A source whose frames are there already: as a film of `count` frames, or as a camera of some rate."""

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], *, count: int, camera_fps: float | None) -> None:
        self._pictures = pictures
        self._count = count
        self._index = 0
        self._due_ns = CLOCK.now_ns()
        self.info = SourceInfo(name="memory", live=camera_fps is not None, fps=camera_fps or 30.0)

    def read(self) -> Frame | None:
        """The next picture; of a camera when it is due."""
        index = self._index
        if not self.info.live and index >= self._count:
            return None
        if self.info.live and self.info.fps:
            self._due_ns += round(1e9 / self.info.fps)
            CLOCK.sleep(max(self._due_ns - CLOCK.now_ns(), 0) / 1e9)
        self._index += 1
        picture = self._pictures[index % len(self._pictures)]
        return Frame(image=picture, index=index, captured_ns=CLOCK.now_ns(), name=f"memory#{index}")

    def close(self) -> None:
        """Nothing is open."""


def measure_engine(model: Model, pictures: Sequence[NDArray[np.uint8]], count: int) -> float:
    """Frames a second of the bare engine, on tensors that are ready."""
    batches = [to_input([picture], model.spec) for picture in pictures]
    started = perf_counter()
    for index in range(count):
        model.engine.run(batches[index % len(batches)])
    return count / (perf_counter() - started)


def run_loop(
    model: Model, pictures: Sequence[NDArray[np.uint8]], count: int, *, camera_fps: float | None
) -> LiveSummary:
    """The whole loop over so many frames."""
    source = Memory(pictures, count=count, camera_fps=camera_fps)
    with tempfile.TemporaryDirectory() as folder:
        sink = open_queued(f"{folder}/out.jsonl", Surroundings(source=source.info))
        return run_live(model, source, [sink], LiveOptions(max_frames=count))


def measure_model(model: Model, pictures: Sequence[NDArray[np.uint8]], count: int, rounds: int) -> list[str]:
    """The model's cells: medians of rounds in which everything takes its turn."""
    rows = []
    for _ in range(rounds):
        fps = measure_engine(model, pictures, count)
        film = run_loop(model, pictures, count, camera_fps=None)
        fast = run_loop(model, pictures, count, camera_fps=2 * fps)
        usual = run_loop(model, pictures, count, camera_fps=min(USUAL_FPS, fps / 2))
        ages = (usual.age_median_ms or 0.0, usual.age_p95_ms or 0.0)
        rows.append((fps, film.fps, film.fps / fps, fast.fps, fast.fps / fps, *ages))
    engine, film_fps, film_share, camera_fps, camera_share, age_ms, late_ms = (
        median(column) for column in zip(*rows, strict=True)
    )
    shares = (f"{film_fps:.1f}", f"{film_share:.1%}", f"{camera_fps:.1f}", f"{camera_share:.1%}")
    return [f"{engine:.1f}", *shares, f"{age_ms:.2f}", f"{late_ms:.2f}"]


def main() -> None:
    """Print one line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    pictures = list(np.random.default_rng(0).integers(0, 256, (PICTURES, *FRAME_SIZE), dtype=np.uint8))
    table = Table("model", "engine", title=f"640 × 480 frames, {options.threads} threads, {options.rounds} rounds")
    rates = ("engine fps", "file fps", "of the engine's", "camera fps", "of the engine's")
    for heading in (*rates, "usual camera: age ms", "95 % within"):
        table.add_column(heading, justify="right")
    for path in options.models:
        with Model(path, threads=options.threads) as model:
            model.warm_up()
            cells = measure_model(model, pictures, options.frames, options.rounds)
            table.add_row(path.name, model.engine.info.name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
