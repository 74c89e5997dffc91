"""``python -m edgex_devices.tuning.measure`` reads a `Task` as JSON and times one candidate in this process alone.

With ``--release`` it reads a `ReleaseTask`: on a board, what an installed release runs is what is timed. What it prints
is one line of JSON, the last one: an `Answer`.
"""

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray

from edgex_devices.agent.config import CONFIG, AppConfig
from edgex_devices.probe import Machine, temperatures
from edgex_devices.tuning.candidate import Candidate
from edgex_runtime.engines.engine import Device
from edgex_runtime.engines.registry import entry_for
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
        spec: The contract (TOML) of a file that carries none; empty for one that does.
    """

    candidate: Candidate
    width: int
    height: int
    seconds: float
    spec: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTask:
    """The same of an installed release, whose folder says what runs how."""

    folder: str
    width: int
    height: int
    seconds: float

    def task(self) -> Task:
        """What the release's config says, spelt out."""
        folder = Path(self.folder)
        config = AppConfig.from_json((folder / CONFIG).read_bytes())
        model = folder / config.model
        device: Device = config.device  # type: ignore[assignment]  # the engine refuses an unknown one
        engine, _ = entry_for(model, config.engine)
        candidate = Candidate(model=str(model), engine=engine, device=device, threads=config.threads)
        spec = str(folder / config.spec) if config.spec else ""
        return Task(candidate=candidate, width=self.width, height=self.height, seconds=self.seconds, spec=spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One process's measurement.

    Attributes:
        candidate: What was measured.
        frame_ms: Each frame's whole time: preparing, inference, answer.
        inference_ms: The engine's share of each.
        cpu_ms: A frame's share of the processor time of all threads.
        resident_mb: Memory of the process at the end, Python and OpenCV included.
        peak_mb: The most that it was.
        start_s: From an empty process's imports to the first answer's end, the self-test included where this file has
            not passed it on this machine before.
        celsius: The hottest sensor before and after; None where none can be read.
        ran_on: The device that the engine reports.
        engine_version: Of the engine.
    """

    candidate: Candidate
    frame_ms: tuple[float, ...]
    inference_ms: tuple[float, ...]
    cpu_ms: float
    resident_mb: float
    peak_mb: float
    start_s: float
    celsius: tuple[float | None, float | None]
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
    chosen, before = task.candidate, _hottest()
    started = perf_counter()
    with Model(
        chosen.model,
        engine=chosen.engine,
        device=chosen.device,
        threads=chosen.threads,
        spin=chosen.spin,
        spec=task.spec or None,
    ) as model:
        model.predict(frame)
        start_s = perf_counter() - started
        _run(model, frame, _WARM_UP_RUNS, _WARM_UP_S)
        cpu_s = process_time()
        frames, inference = _run(model, frame, _LEAST_RUNS, task.seconds)
        cpu_ms = (process_time() - cpu_s) * 1e3 / len(frames)
        info = model.engine.info
        resident_mb, peak_mb = _memory_mb("VmRSS"), _memory_mb("VmHWM")
    return Sample(
        candidate=chosen,
        frame_ms=tuple(frames),
        inference_ms=tuple(inference),
        cpu_ms=cpu_ms,
        resident_mb=resident_mb,
        peak_mb=peak_mb,
        start_s=start_s,
        celsius=(before, _hottest()),
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


def _memory_mb(name: str) -> float:
    # Not getrusage: its peak is inherited from whoever started this process.
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found[1]) / 1024 if found else 0.0


def _hottest() -> float | None:
    return max((zone["celsius"] for zone in temperatures(Machine("/"))), default=None)


def main() -> None:
    """Read the task from stdin, measure, answer on stdout."""
    plain, is_release = json.loads(sys.stdin.read()), sys.argv[1:] == ["--release"]
    try:
        task = (
            from_plain(ReleaseTask, plain, where="task").task() if is_release else from_plain(Task, plain, where="task")
        )
        answer = Answer(sample=measure(task))
    except EdgexError as error:
        answer = Answer(why=str(error))
    sys.stdout.write("\n" + json.dumps(to_plain(answer)) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
