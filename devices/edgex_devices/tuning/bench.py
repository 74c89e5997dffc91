"""`edgex bench`: what each of several model files takes on this machine, measured in turns in one run.

Nothing is chosen and nothing is kept, as `tune` does: the files run as `edgex live` would run them here. A file is
compared with the fastest round by round, since what disturbs a machine for seconds disturbs both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgex_devices.host import Host, probe
from edgex_devices.tuning.candidate import Candidate
from edgex_devices.tuning.measure import Sample, Task
from edgex_devices.tuning.noise import busy, strain
from edgex_devices.tuning.rounds import Progress, take_turns
from edgex_devices.tuning.tuned import load_tuned
from edgex_runtime.engines.engine import Device
from edgex_runtime.engines.registry import entry_for
from edgex_runtime.metadata.registry import read_spec

# Rounds that differ by more than this share of their median say more of the machine than of the file.
_UNSTEADY = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """What to measure.

    Attributes:
        models: The files.
        engine: None for what `edgex tune` found for a file here, else the one of its suffix.
        device: The same.
        threads: The same; without either it is left to the engine.
        spec: The contract (TOML) of files that carry none.
        rounds: How often each file is measured.
        seconds: For how long, in each round.
        frame: Width and height of the camera's frames.
    """

    models: tuple[Path, ...]
    engine: str | None = None
    device: Device | None = None
    threads: int | None = None
    spec: Path | None = None
    rounds: int = 5
    seconds: float = 1.0
    frame: tuple[int, int] = (1280, 720)

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models: want one or more")
        if self.rounds < 1 or self.seconds <= 0 or min(self.frame) < 1:
            raise ValueError("rounds, seconds and frame: want 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds: the middle one of the rounds' medians, nine of ten of all frames, and how far the rounds differ."""

    median: float
    p90: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Times as long as the fastest: the middle one of the rounds, and the least and the most of them."""

    median: float
    least: float
    most: float

    @property
    def is_certain(self) -> bool:
        """Whether it was slower in every round, and there was more than one to see that in."""
        return self.least > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchFigures:
    """What one way of running one file takes.

    Attributes:
        engine_ms: Inference alone.
        predict_ms: A whole frame: preparing, inference, answer.
        cpu_ms: A frame's processor time, of all threads.
        start_s: From an empty process to the first answer.
        resident_mb: Memory of the process while it runs.
        peak_mb: The most that it was.
        celsius: The hottest sensor before the first round and after the last; None where none can be read.
        rounds: In how many rounds it took part.
        frames: How many frames that were.
        ran_on: The device that the engine reports.
        engine_version: Of the engine.
    """

    engine_ms: Times
    predict_ms: Times
    cpu_ms: float
    start_s: float
    resident_mb: float
    peak_mb: float
    celsius: tuple[float | None, float | None]
    rounds: int
    frames: int
    ran_on: str
    engine_version: str

    @property
    def fps(self) -> float:
        """Frames per second, one after the other."""
        return 1e3 / self.predict_ms.median


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """A line of the table.

    Attributes:
        candidate: What was run how.
        precision: Of the file; ``unknown`` without a contract.
        is_tuned: Whether `edgex tune` chose how.
        figures: None where it could not be measured.
        ratio: To the fastest; None for itself, and where it is the only one.
        why_not: Why there are no figures.
    """

    candidate: Candidate
    precision: str
    is_tuned: bool
    figures: BenchFigures | None = None
    ratio: Ratio | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The table, the fastest first, and what makes its figures less certain."""

    rows: tuple[BenchRow, ...]
    remarks: tuple[str, ...]


def bench(config: BenchConfig, progress: Progress | None = None) -> Bench:
    """Measure files on this machine.

    Args:
        config: What.
        progress: As in `take_turns`.

    Raises:
        ModelFileError: If a file is not there or is no model.
        BadInputError: If the engine that is named is not known or does not run such a file.
    """
    before, _ = probe(Host())
    remarks = busy(before)
    rows = {row.candidate: row for row in (_row(model, config) for model in config.models)}
    measured = take_turns([_task(row, config) for row in rows.values()], config.rounds, progress)
    samples = {item: found.samples for item, found in measured.items()}
    fastest = min(
        (item for item, found in samples.items() if found), key=lambda item: _median(samples[item]), default=None
    )
    done = []
    for item, row in rows.items():
        if not samples[item]:
            done.append(replace(row, why_not=measured[item].why))
            continue
        ratio = compare(samples[item], samples[fastest]) if fastest and item != fastest else None
        done.append(replace(row, figures=summarise(samples[item]), ratio=ratio))
    done.sort(key=lambda row: row.figures.predict_ms.median if row.figures else np.inf)
    remarks += unsteady([row.figures for row in done if row.figures])
    return Bench(rows=tuple(done), remarks=(*remarks, *strain(before, probe(Host())[0])))


def summarise(samples: Sequence[Sample]) -> BenchFigures:
    """One candidate's rounds as figures; want one or more."""
    first, last = samples[0], samples[-1]
    return BenchFigures(
        engine_ms=_times([sample.inference_ms for sample in samples]),
        predict_ms=_times([sample.frame_ms for sample in samples]),
        cpu_ms=float(np.median([sample.cpu_ms for sample in samples])),
        start_s=float(np.median([sample.start_s for sample in samples])),
        resident_mb=float(np.median([sample.resident_mb for sample in samples])),
        peak_mb=max(sample.peak_mb for sample in samples),
        celsius=(first.celsius[0], last.celsius[1]),
        rounds=len(samples),
        frames=sum(len(sample.frame_ms) for sample in samples),
        ran_on=first.ran_on,
        engine_version=first.engine_version,
    )


def compare(samples: Sequence[Sample], fastest: Sequence[Sample]) -> Ratio:
    """How many times as long as the fastest, round by round."""
    pairs = zip(samples, fastest, strict=True)
    ratios = [float(np.median(ours.frame_ms) / np.median(best.frame_ms)) for ours, best in pairs]
    return Ratio(median=float(np.median(ratios)), least=min(ratios), most=max(ratios))


def unsteady(figures: Sequence[BenchFigures]) -> list[str]:
    """What to say of rounds that differ among themselves."""
    worst = max((item.predict_ms.spread / item.predict_ms.median for item in figures), default=0.0)
    if worst <= _UNSTEADY:
        return []
    return [f"rounds of the same file differ by up to {worst:.0%}: believe the comparison, not the milliseconds"]


def _row(model: Path, config: BenchConfig) -> BenchRow:
    spec = read_spec(model)
    is_free = (config.engine, config.device, config.threads) == (None, None, None)
    tuned = load_tuned(model) if is_free else None
    engine, _ = entry_for(model, config.engine)
    typed = Candidate(model=str(model), engine=engine, device=config.device or "auto", threads=config.threads)
    return BenchRow(
        candidate=replace(tuned.best, model=str(model)) if tuned else typed,
        precision=spec.precision if spec else "unknown",
        is_tuned=tuned is not None,
    )


def _task(row: BenchRow, config: BenchConfig) -> Task:
    width, height = config.frame
    spec = str(config.spec) if config.spec and row.precision == "unknown" else ""
    return Task(candidate=row.candidate, width=width, height=height, seconds=config.seconds, spec=spec)


def _times(rounds: Sequence[Sequence[float]]) -> Times:
    medians = [float(np.median(frames)) for frames in rounds]
    p90 = float(np.percentile(np.concatenate(rounds), 90))
    return Times(median=float(np.median(medians)), p90=p90, spread=max(medians) - min(medians))


def _median(samples: Sequence[Sample]) -> float:
    return summarise(samples).predict_ms.median
