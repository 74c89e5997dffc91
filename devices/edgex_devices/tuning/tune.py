"""Which way of running these models is the fastest here? Measured (`rounds.py`), not guessed.

After the first round those that are far behind their file's fastest are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edgex_devices.detect import detect
from edgex_devices.facts import Facts
from edgex_devices.host import Host, probe
from edgex_devices.profile import all_profiles
from edgex_devices.tuning.advice import advise
from edgex_devices.tuning.candidate import Candidate, candidates, unproved
from edgex_devices.tuning.limits import Limits
from edgex_devices.tuning.measure import Sample, Task
from edgex_devices.tuning.noise import busy, strain
from edgex_devices.tuning.rounds import Measured, Progress, take_turns
from edgex_devices.tuning.tuned import Figures, Row, Tuned, machine_fingerprint, save_tuned
from edgex_runtime.metadata.registry import artifact_sha256, read_spec

# After one round, by each candidate's fastest frame, which other programs disturb least: so much slower than the same
# file's fastest is no matter of chance.
_FAR_BEHIND = 1.5
# However much a busy machine scatters: what is slower by more than this share is slower.
_LARGEST_CHANCE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneConfig:
    """What to tune.

    Attributes:
        models: The files.
        limits: What is asked for.
        threads: To try; empty tries powers of two up to the cores.
        engines: To try; empty tries all that are installed.
        rounds: How often each candidate is measured.
        seconds: For how long, in each round.
        frame: Width and height of the camera's frames.
    """

    models: tuple[Path, ...]
    limits: Limits
    threads: tuple[int, ...] = ()
    engines: tuple[str, ...] = ()
    rounds: int = 3
    seconds: float = 1.0
    frame: tuple[int, int] = (1280, 720)

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models: want one or more")
        if self.rounds < 1 or self.seconds <= 0 or min((*self.threads, *self.frame)) < 1:
            raise ValueError("rounds, seconds, threads and frame: want 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What came of it.

    Attributes:
        rows: The table, the fastest first, then what was not measured.
        choice: The fastest that fits and is proved; None if nothing does.
        limits: What was asked for, in words.
        remarks: What makes the figures less certain.
        advice: What would fit, where nothing does.
        files: Where it is kept.
    """

    rows: tuple[Row, ...]
    choice: Candidate | None
    limits: str
    remarks: tuple[str, ...]
    advice: tuple[str, ...]
    files: tuple[str, ...] = ()


def tune(config: TuneConfig, progress: Progress | None = None) -> Tuning:
    """Measure, choose, and keep the choice for `load_tuned`.

    Without a memory limit of the user's own, the board's profile gives one.

    Args:
        config: What to tune.
        progress: Called before each measurement with how many are done, how many there are, and its name.

    Raises:
        ModelFileError: If a file is not there or is no model.
        MissingExtraError: If no engine for a file is installed.
        BadInputError: If an engine that is named is not known.
        OSError: If the choice cannot be kept.
    """
    facts, _ = probe(Host())
    limits = _with_board(config.limits, facts)
    remarks = list(busy(facts))
    specs = {model: read_spec(model) for model in config.models}
    rows = []
    for model, spec in specs.items():
        reason, precision = unproved(spec), spec.precision if spec else "unknown"
        found = candidates(model, facts, config.threads, config.engines)
        rows += [Row(candidate=item, precision=precision, why_not=reason) for item in found]
    measured = _measure([row for row in rows if not row.why_not], config, progress)
    rows = [judge(row, limits) for row in (*measured, *(row for row in rows if row.why_not))]
    rows.sort(key=lambda row: row.figures.frame_ms if row.figures else np.inf)
    remarks += strain(facts, probe(Host())[0])
    choice = choose(rows)
    tuning = Tuning(
        rows=tuple(rows),
        choice=choice.candidate if choice else None,
        limits=str(limits),
        remarks=tuple(remarks),
        advice=() if choice else advise(rows, limits, {str(model): spec for model, spec in specs.items()}),
    )
    return replace(tuning, files=tuple(map(str, _keep(tuning, config.models))))


def judge(row: Row, limits: Limits) -> Row:
    """Hold what was measured of a candidate to what is asked for."""
    if row.figures is None:
        return row
    return replace(row, why_not="; ".join([*filter(None, [row.why_not]), *limits.excesses(row.figures)]))


def choose(rows: Sequence[Row]) -> Row | None:
    """The fastest that fits. Whoever is within the spread of the two is as fast: then the least strain is better."""
    fitting = [row for row in rows if row.figures and not row.why_not]
    if not fitting:
        return None
    fastest = min(fitting, key=lambda row: _figures(row).frame_ms)
    return min((row for row in fitting if _is_as_fast(row, fastest)), key=_strain_of)


def _is_as_fast(row: Row, fastest: Row) -> bool:
    ours, best = _figures(row), _figures(fastest)
    chance_ms = max(ours.spread_ms, best.spread_ms)
    return ours.frame_ms - best.frame_ms <= min(chance_ms, _LARGEST_CHANCE * best.frame_ms)


def _strain_of(row: Row) -> tuple[bool, int, float]:
    return row.candidate.spin, row.candidate.threads or 0, _figures(row).frame_ms


def _figures(row: Row) -> Figures:
    assert row.figures is not None, "only measured rows are compared"
    return row.figures


def _measure(rows: list[Row], config: TuneConfig, progress: Progress | None) -> list[Row]:
    width, height = config.frame
    tasks = [Task(candidate=row.candidate, width=width, height=height, seconds=config.seconds) for row in rows]
    measured = take_turns(tasks, config.rounds, progress, _far_behind)
    return [_row(row, measured[row.candidate]) for row in rows]


def _row(row: Row, measured: Measured) -> Row:
    return replace(row, figures=summarise(measured.samples) if measured.samples else None, why_not=measured.why)


def _far_behind(first: Mapping[Candidate, Sample]) -> dict[Candidate, str]:
    """Those that need no second round, and why."""
    quickest = {item: min(sample.frame_ms) for item, sample in first.items()}
    fastest: dict[str, float] = {}
    for item, ms in quickest.items():
        fastest[item.model] = min(ms, fastest.get(item.model, ms))
    slower = {item: ms / fastest[item.model] for item, ms in quickest.items()}
    return {
        item: f"left out after round 1: {factor:.1f} × slower than this file's fastest"
        for item, factor in slower.items()
        if factor > _FAR_BEHIND
    }


def summarise(samples: Sequence[Sample]) -> Figures:
    """One candidate's rounds as figures; want one or more."""
    medians = [float(np.median(sample.frame_ms)) for sample in samples]
    frames = np.concatenate([sample.frame_ms for sample in samples])
    return Figures(
        frame_ms=float(np.median(medians)),
        p95_ms=float(np.percentile(frames, 95)),
        spread_ms=max(medians) - min(medians),
        inference_ms=float(np.median([np.median(sample.inference_ms) for sample in samples])),
        peak_mb=max(sample.peak_mb for sample in samples),
        start_s=float(np.median([sample.start_s for sample in samples])),
        rounds=len(samples),
        frames=len(frames),
        ran_on=samples[0].ran_on,
        engine_version=samples[0].engine_version,
    )


def _with_board(limits: Limits, facts: Facts) -> Limits:
    profile = detect(facts, all_profiles())
    if limits.memory_mb is not None or profile is None or profile.memory_limit_mb is None:
        return limits
    return replace(limits, memory_mb=float(profile.memory_limit_mb))


def _keep(tuning: Tuning, models: Sequence[Path]) -> list[Path]:
    """For each file its own best way, where there is one."""
    files, machine = [], machine_fingerprint()
    for model in models:
        own = choose([row for row in tuning.rows if row.candidate.model == str(model)])
        is_choice = tuning.choice is not None and tuning.choice.model == str(model)
        best = tuning.choice if is_choice else own.candidate if own else None
        if best is None:
            continue
        tuned = Tuned(
            artifact=artifact_sha256(model),
            machine=machine,
            best=best,
            is_choice=is_choice,
            table=tuning.rows,
            wanted=tuning.limits,
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        files.append(save_tuned(tuned))
    return files
