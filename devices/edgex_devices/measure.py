"""``python -m edgex_devices.measure`` reads a `Task` as JSON and times one candidate, in this process and no other.

What it prints is one line of JSON, the last one: a `Sample`, or why there is none.
"""

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edgex_devices.candidate import Candidate
from edgex_runtime.errors import EdgexError
from edgex_runtime.model import Model
from edgex_runtime.schema import from_plain, to_plain

# Caches, clocks and lazy initialisation settle within these; more of both on a machine where a run is short.
_WARM_UP_RUNS, _WARM_UP_S = 3, 0.3
_LEAST_RUNS, _MOST_RUNS = 5, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to measure.

    Attributes:
        candidate: How to run what.
        width: Of the camera's frames.
        height: Of the camera's frames.
        seconds: How long to measure, after the warm-up; at least `_LEAST_RUNS` runs.
    """

    candidate: Candidate
    width: int
    height: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One process's measurement.

    Attributes:
        frame_ms: Each frame's whole time: preparing, inference, answer.
        inference_ms: Median of the engine's share.
        peak_mb: Largest resident memory of the process, Python and OpenCV included.
        start_s: From an empty process's imports to the first answer's end, the self-test included.
        ran_on: The device that the engine reports.
        engine_version: Of the engine.
    """

    frame_ms: tuple[float, ...]
    inference_ms: float
    peak_mb: float
    start_s: float
    ran_on: str
    engine_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A sample, or why there is none."""

    sample: Sample | None = None
    why: str = ""


def measure(task: Task) -> Sample:
    """Open the model, warm up, and time frames that are already in memory.

    Raises:
        EdgexError: If the model does not open here, or fails its self-test.
    """
    frame = np.random.default_rng(0).integers(0, 256, (task.height, task.width, 3), dtype=np.uint8)
    chosen = task.candidate
    started = perf_counter()
    with Model(
        chosen.model, engine=chosen.engine, device=chosen.device, threads=chosen.threads, spin=chosen.spin
    ) as model:
        model.predict(frame)
        start_s = perf_counter() - started
        _run(model, frame, _WARM_UP_RUNS, _WARM_UP_S)
        frames, inference = _run(model, frame, _LEAST_RUNS, task.seconds)
        info = model.engine.info
    return Sample(
        frame_ms=tuple(frames),
        inference_ms=float(np.median(inference)),
        peak_mb=_peak_mb(),
        start_s=start_s,
        ran_on=info.device,
        engine_version=info.version,
    )


def _run(model: Model, frame: NDArray[np.uint8], least: int, seconds: float) -> tuple[list[float], list[float]]:
    frames: list[float] = []
    inference: list[float] = []
    ends = perf_counter() + seconds
    while len(frames) < least or (perf_counter() < ends and len(frames) < _MOST_RUNS):
        started = perf_counter()
        timing = model.predict(frame).timing
        frames.append((perf_counter() - started) * 1e3)
        inference.append(timing.inference_ms)
    return frames, inference


def _peak_mb() -> float:
    # Not getrusage: its peak is inherited from whoever started this process.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    """Read the task from stdin, measure, answer on stdout."""
    task = from_plain(Task, json.loads(sys.stdin.read()), where="task")
    try:
        answer = Answer(sample=measure(task))
    except EdgexError as error:
        answer = Answer(why=str(error))
    sys.stdout.write("\n" + json.dumps(to_plain(answer)) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
