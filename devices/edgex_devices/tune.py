"""Which way of running these models is the fastest here? Measured, not guessed.

Each candidate runs in a process of its own, in every round anew, so that memory and start are its own and that warmth
and other programs fall on all alike: rounds go forth and back through the list. After the first round those that are
far behind their file's fastest are left out.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edgex_devices.advice import advise
from edgex_devices.candidate import Candidate, candidates, unproved
from edgex_devices.detect import detect
from edgex_devices.facts import Facts
from edgex_devices.host import Host, probe
from edgex_devices.limits import Limits
from edgex_devices.measure import Answer, Sample, Task
from edgex_devices.profile import all_profiles
from edgex_devices.tuned import Figures, Row, Tuned, machine_fingerprint, save_tuned
from edgex_runtime.metadata.registry import artifact_sha256, read_spec
from edgex_runtime.schema import from_plain, to_plain

# After one round, by each candidate's fastest frame, which other programs disturb least: so much slower than the same
# file's fastest is no matter of chance.
_FAR_BEHIND = 1.5
# However much a busy machine scatters: what is slower by more than this share is slower.
_LARGEST_CHANCE = 0.1
_LONGEST_S = 600
# More runnable programs than this per core, besides ours, and times are theirs as much as ours.
_BUSY = 0.5
Progress = Callable[[int, int, str], None]


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
    remarks = list(_busy(facts))
    specs = {model: read_spec(model) for model in config.models}
    rows = []
    for model, spec in specs.items():
        reason, precision = unproved(spec), spec.precision if spec else "unknown"
        found = candidates(model, facts, config.threads, config.engines)
        rows += [Row(candidate=item, precision=precision, why_not=reason) for item in found]
    measured = _measure([row for row in rows if not row.why_not], config, progress)
    rows = [judge(row, limits) for row in (*measured, *(row for row in rows if row.why_not))]
    rows.sort(key=lambda row: row.figures.frame_ms if row.figures else np.inf)
    remarks += _strain(facts, probe(Host())[0])
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
    samples: dict[Candidate, list[Sample]] = {row.candidate: [] for row in rows}
    failures: dict[Candidate, str] = {}
    remaining = [row.candidate for row in rows]
    behind: dict[Candidate, str] = {}
    total, done = len(remaining) * config.rounds, 0
    for turn in range(config.rounds):
        for candidate in remaining if turn % 2 == 0 else reversed(remaining):
            if progress:
                progress(done, total, str(candidate))
            done += 1
            answer = run_apart(_task(candidate, config))
            if answer.sample:
                samples[candidate].append(answer.sample)
            else:
                failures[candidate] = answer.why
        remaining = [item for item in remaining if item not in failures]
        if turn == 0:
            behind = _far_behind(remaining, samples)
            remaining = [item for item in remaining if item not in behind]
            total = done + len(remaining) * (config.rounds - 1)
    return [_row(row, samples[row.candidate], failures.get(row.candidate), behind.get(row.candidate)) for row in rows]


def _row(row: Row, samples: Sequence[Sample], failure: str | None, behind: str | None) -> Row:
    if failure:
        return replace(row, why_not=failure)
    return replace(row, figures=summarise(samples), why_not=behind or "")


def _far_behind(remaining: list[Candidate], samples: dict[Candidate, list[Sample]]) -> dict[Candidate, str]:
    """Those that need no second round, and why."""
    quickest = {item: min(samples[item][0].frame_ms) for item in remaining}
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
        inference_ms=float(np.median([sample.inference_ms for sample in samples])),
        peak_mb=max(sample.peak_mb for sample in samples),
        start_s=float(np.median([sample.start_s for sample in samples])),
        rounds=len(samples),
        frames=len(frames),
        ran_on=samples[0].ran_on,
        engine_version=samples[0].engine_version,
    )


def _task(candidate: Candidate, config: TuneConfig) -> Task:
    return Task(candidate=candidate, width=config.frame[0], height=config.frame[1], seconds=config.seconds)


def run_apart(task: Task) -> Answer:
    """Measure in a process of its own, which may end with the candidate."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "edgex_devices.measure"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(to_plain(task)),
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(why=f"not done within {_LONGEST_S} s")
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        more = ", which is how the kernel ends what takes more memory than there is" if name == "SIGKILL" else ""
        return Answer(why=f"its process ended with {name}{more}")
    if done.returncode:
        return Answer(why=(done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return from_plain(Answer, json.loads(done.stdout.strip().splitlines()[-1]), where="measurement")


def _with_board(limits: Limits, facts: Facts) -> Limits:
    profile = detect(facts, all_profiles())
    if limits.memory_mb is not None or profile is None or profile.memory_limit_mb is None:
        return limits
    return replace(limits, memory_mb=float(profile.memory_limit_mb))


def _busy(facts: Facts) -> list[str]:
    load = os.getloadavg()[0]
    if load <= _BUSY * facts.cpu.usable:
        return []
    return [f"{load:.1f} programs were running on {facts.cpu.usable} cores before it began: times are theirs too"]


def _strain(before: Facts, after: Facts) -> list[str]:
    """What the measuring itself did to the machine."""
    remarks = []
    if (after.health.throttled or 0) & 0xF:
        remarks.append(
            f"the board was throttled at the end (throttled={after.health.throttled:#x}): cooled, it is faster"
        )
    if (after.health.throttle_count or 0) > (before.health.throttle_count or 0):
        remarks.append("heat slowed the cores down while it was measured")
    return remarks


def _keep(tuning: Tuning, models: Sequence[Path]) -> list[Path]:
    """For each file its own best way, where there is one."""
    files, machine = [], machine_fingerprint()
    for model in models:
        best = choose([row for row in tuning.rows if row.candidate.model == str(model)])
        if best is None:
            continue
        tuned = Tuned(
            artifact=artifact_sha256(model),
            machine=machine,
            best=best.candidate,
            is_choice=best.candidate == tuning.choice,
            table=tuning.rows,
            wanted=tuning.limits,
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        files.append(save_tuned(tuned))
    return files
