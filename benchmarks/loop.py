"""What the frame loop leaves of the bare engine's rate: both on the same frames and threads, in turns, in one run.

    python benchmarks/loop.py MODEL ... [--threads N] [--frames N] [--rounds N]

The loop is measured twice: with a file that it must show whole, and with a camera that is twice as fast as the engine;
its results go to a JSON-lines file behind its queue, as a user's would. What has to hold: 95 % for Xception at 299, and
80 % for a network of 3 ms.
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

FRAME_SIZE = (480, 640, 3)
PICTURES = 16
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


def measure_loop(model: Model, pictures: Sequence[NDArray[np.uint8]], count: int, *, camera_fps: float | None) -> float:
    """Frames a second of the whole loop."""
    source = Memory(pictures, count=count, camera_fps=camera_fps)
    with tempfile.TemporaryDirectory() as folder:
        sink = open_queued(f"{folder}/out.jsonl", Surroundings(source=source.info))
        return run_live(model, source, [sink], LiveOptions(max_frames=count)).fps


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
    for heading in ("engine fps", "file fps", "of the engine's", "camera fps", "of the engine's"):
        table.add_column(heading, justify="right")
    for path in options.models:
        with Model(path, threads=options.threads) as model:
            model.warm_up()
            rounds = []
            for _ in range(options.rounds):
                fps = measure_engine(model, pictures, options.frames)
                film = measure_loop(model, pictures, options.frames, camera_fps=None)
                rounds.append((fps, film, measure_loop(model, pictures, options.frames, camera_fps=2 * fps)))
            engine, film, camera = (median(column) for column in zip(*rounds, strict=True))
            film_share = median(of_film / of_engine for of_engine, of_film, _ in rounds)
            camera_share = median(of_camera / of_engine for of_engine, _, of_camera in rounds)
            table.add_row(
                path.name,
                model.engine.info.name,
                *(f"{engine:.1f}", f"{film:.1f}", f"{film_share:.1%}", f"{camera:.1f}", f"{camera_share:.1%}"),
            )
    Console().print(table)


if __name__ == "__main__":
    main()
