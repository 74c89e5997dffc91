"""Runs the stages: make → verify → seal → deliver, target by target; what fell short never passes for good.

Each step's result is kept under a key (`keys.py`) in a cache (`cache.py`): here is only the order of things.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgex_converters import work
from edgex_converters.blame import Blame
from edgex_converters.cache import Cache, Entry, open_cache, passing_cache
from edgex_converters.calibration import CalibrationSet
from edgex_converters.calibration import choose as choose_calibration
from edgex_converters.config import ConvertConfig
from edgex_converters.delivery import deliver, place, stands, withdraw
from edgex_converters.evaluation import EvaluationSet, identify, open_inputs
from edgex_converters.gates import judge
from edgex_converters.keys import Keys
from edgex_converters.learned import Ranges
from edgex_converters.processes import Runner, in_order, run_apart, run_here
from edgex_converters.recipes import plan
from edgex_converters.repair import ops_of, search
from edgex_converters.result import Conversion, Outcome, Repair, Step
from edgex_converters.scratch import scratch_folder
from edgex_converters.sealing import contract, dated, read_recorded, seal_again
from edgex_converters.source import LazyNetwork
from edgex_converters.source import Source as Source
from edgex_converters.stage import Job, Stage
from edgex_converters.target import Target
from edgex_runtime import dataset, provenance
from edgex_runtime.dataset import Dataset
from edgex_runtime.errors import EdgexError, StageError
from edgex_runtime.privacy import decline_telemetry
from edgex_runtime.spec import Evidence

_WARNINGS = "warnings.json"


class Observer(Protocol):
    """Told what the pipeline does; the command line draws bars from it."""

    def begin(self, step: str) -> None:
        """A step starts: ``quantize_onnx``, ``verify onnx int8``."""
        ...

    def advance(self, done: int, total: int) -> None:
        """The step has done `done` of `total`."""
        ...

    def finish(self, outcome: Outcome) -> None:
        """A target has its verdict."""
        ...


def convert(source: Source, config: ConvertConfig, observer: Observer) -> Conversion:
    """Make every target of `config`, each verified in its own engine and sealed with what was found.

    Artifacts that pass stand in ``config.out`` when this returns; those that fail their gate stand under
    ``config.out/rejected``, and their contract says so. A stage that breaks stops only the targets that stand on it.

    Raises:
        DatasetError: If calibration or evaluation photos cannot serve.
        MissingExtraError: If a tool is not installed.
    """
    decline_telemetry()
    # Beside the results, so that a finished artifact goes there by one rename.
    with scratch_folder(config.out, ".converting-") as scratch:
        observer.begin("photos")
        photos = dataset.scan(config.evaluation)
        calibration = _calibration(config, photos, source)
        images = identify(photos, source.spec, scratch / "inputs.npy")
        network = source.lazy_network()
        keys = Keys(
            network=network.identity or secrets.token_hex(),
            spec=source.spec,
            evaluation=images.hashes,
            calibration=calibration.hashes if calibration else (),
            quantize=config.quantize,
            threads=config.threads,
            ranges=ranges_to_take(source, config),
        )
        keep = config.use_cache and network.identity is not None
        with open_cache() if keep else passing_cache(scratch / "cache") as cache:
            run = _Run(
                source=source,
                network=network,
                config=config,
                observer=observer,
                scratch=scratch,
                images=images,
                calibration=calibration,
                keys=keys,
                cache=cache,
            )
            # A step that turns the network into another one goes here: a `LazyNetwork` whose identity is the step's key
            # (network and calibration photos) takes the place of `network` in the run and in the exports' keys.
            return run.convert()


def _calibration(config: ConvertConfig, photos: Dataset, source: Source) -> CalibrationSet | None:
    if "int8" not in config.precisions:
        return None
    assert config.calibration is not None  # ConvertConfig has checked it.
    return choose_calibration(config.calibration, photos, source.spec, config.quantize)


def ranges_to_take(source: Source, config: ConvertConfig) -> Ranges | None:
    """The ranges that int8 takes from the source; a user who names a way to calibrate wants that instead."""
    return source.ranges if config.quantize.activation_range == "recommended" else None


@dataclass(kw_only=True, eq=False)
class _Run:
    """One conversion: what its stages share, and what they have made so far."""

    source: Source
    network: LazyNetwork
    config: ConvertConfig
    observer: Observer
    scratch: Path
    images: EvaluationSet
    calibration: CalibrationSet | None
    keys: Keys
    cache: Cache

    def __post_init__(self) -> None:
        self.stages = plan(self.config.targets, self.network.kind)
        self.outcomes: dict[Target, Outcome] = {}
        # As the stages left them, without a contract: what the next stage starts from.
        self.raw: dict[Target, Entry] = {}
        self.telling = threading.Lock()
        alone = self.config.jobs == 1
        self.run: Runner = run_here if alone else run_apart
        self.progress = self.observer.advance if alone else _ignore

    def convert(self) -> Conversion:
        """Everything, in order."""
        warnings = self._judge_calibration()
        self._check_tools()
        self.reference = _logits(self._step("reference", self.keys.reference(), self._ask_reference))
        in_order(self.stages, self._attempt, self.config.jobs)
        asked = [self.outcomes[target] for target in self.config.targets]
        there = [outcome for outcome in asked if outcome.path is not None]
        made = {str(outcome.target): (outcome.target, self.raw[outcome.target]) for outcome in there}
        ms = self._time("all artifacts", made) if made else {}
        return Conversion(
            outcomes=tuple(replace(outcome, ms=ms.get(str(outcome.target))) for outcome in asked),
            spec=self.source.spec,
            reference=self.reference,
            labels=self.images.labels,
            paths=self.images.paths,
            versions=provenance.tool_versions(tool for stage in self.stages for tool in stage.tools),
            calibration=self.calibration.reference if self.calibration else None,
            warnings=warnings,
            calibration_classes=self.calibration.classes if self.calibration else {},
            learned_ranges=len(self.keys.ranges or ()),
            intermediates=tuple(made for target, made in self.outcomes.items() if target not in self.config.targets),
        )

    def _judge_calibration(self) -> tuple[str, ...]:
        """A set that must not calibrate is an error before any stage."""
        calibration = self.calibration
        if calibration is None:
            return ()

        def write(folder: Path) -> None:
            warnings = calibration.judge()
            inputs = open_inputs(self.images.inputs(self.observer.advance))
            warnings += calibration.compare(inputs, self.images.paths)
            (folder / _WARNINGS).write_text(json.dumps(warnings), encoding="utf-8")

        key = self.keys.calibration_verdict((*calibration.paths, *self.images.paths), calibration.warnings)
        entry = self._step("photos that calibrate", key, write)
        return tuple(json.loads((entry.folder / _WARNINGS).read_text(encoding="utf-8")))

    def _check_tools(self) -> None:
        """A missing tool is an error now, not after an hour; but what the cache has needs no tool."""
        for stage in self.stages:
            entry = self.cache.find(self._key(stage)) if stage.requires is None or stage.requires in self.raw else None
            if entry is not None:
                self.raw[stage.ensures] = entry
        missing = tuple(stage for stage in self.stages if stage.ensures not in self.raw)
        if missing:
            self._begin("tools")
            self.run(work.load_tools, missing, self.scratch / "tools.log")

    def _attempt(self, stage: Stage) -> None:
        """Make one target and judge it; a tool that breaks is an outcome too."""
        started = time.perf_counter()
        try:
            outcome = self._make_and_judge(stage)
        except EdgexError as error:
            outcome = Outcome(target=stage.ensures, status="broken", why=str(error))
        outcome = replace(outcome, seconds=time.perf_counter() - started)
        self.outcomes[stage.ensures] = outcome
        if stage.ensures in self.config.targets:
            with self.telling:
                self.observer.finish(outcome)

    def _make_and_judge(self, stage: Stage) -> Outcome:
        before = self.outcomes.get(stage.requires) if stage.requires else None
        if before is not None and before.status != "passed":
            raise StageError(f"it starts from {before.target}, which {before.status}")
        if stage.ensures not in self.raw:
            self.raw[stage.ensures] = self._step(stage.name, self._key(stage), partial(self._make, stage))
        outcome = self._verify_and_judge(stage, before)
        outcome = self._diagnose(stage, outcome)
        # No layer in float mends what another CPU would answer.
        repairable = outcome.status == "failed" and stage.calibrates and not outcome.portability_fault
        if self.config.repair and repairable and outcome.blame is not None:
            outcome = self._repair(stage, before, outcome, outcome.blame)
        return self._seal(stage, outcome) if stage.ensures in self.config.targets else outcome

    def _repair(self, stage: Stage, before: Outcome | None, failed: Outcome, blame: Blame) -> Outcome:
        """Keep layers in float until the gate holds; if it never does, all stays as it was."""
        target, remarks = stage.ensures, []
        tries: dict[tuple[str, ...], tuple[Entry, Outcome]] = {(): (self.raw[target], failed)}

        def attempt(layers: tuple[str, ...]) -> Outcome | None:
            keep, in_float = ops_of(blame, layers), f"{', '.join(layers)} in float"
            make = partial(self._make, stage, keep_float=keep)
            try:
                self.raw[target] = self._step(f"repair {target}: {in_float}", self._key(stage, keep), make)
                outcome = self._verify_and_judge(stage, before)
            except EdgexError as error:
                remarks.append(f"repair with {in_float}: {error}")
                return None
            tries[layers] = (self.raw[target], outcome)
            return outcome

        best = search(blame, self.config.repair_layers, failed, attempt)
        made = {", ".join(layers): (target, entry) for layers, (entry, _) in tries.items()}
        ms = self._time(f"repairs of {target}", made)
        self.raw[target], outcome = tries[best]
        if best:
            remarks.append(f"repaired: {', '.join(best)} in float")
            outcome = self._diagnose(stage, outcome)
        return replace(
            outcome,
            remarks=(*outcome.remarks, *remarks),
            repairs=tuple(_as_repair(layers, outcome, ms[", ".join(layers)]) for layers, (_, outcome) in tries.items()),
        )

    def _verify_and_judge(self, stage: Stage, before: Outcome | None) -> Outcome:
        raw = self.raw[stage.ensures]
        verify = partial(self._verify, stage)
        verified = self._step(f"verify {stage.ensures}", self.keys.logits(raw.digest), verify)
        outcome = self._judge(stage, verified, before)
        return replace(
            outcome,
            bytes=work.artifact_bytes(raw.folder),
            steps=(_told(stage.name, raw), _told("verify", verified)),
            remarks=work.read_remarks(raw.folder),
        )

    def _judge(self, stage: Stage, verified: Entry, before: Outcome | None) -> Outcome:
        from edgex_converters.stages import verify

        logits = _logits(verified)
        fault = json.loads((verified.folder / work.FAULT).read_text(encoding="utf-8"))
        measured = verify.measure(logits, self.reference, self.images.labels)
        verdict = judge(stage.ensures.precision, measured, self.config.gates, portability_fault=fault)
        evidence = Evidence(
            stage=stage.name,
            metrics=measured.metrics,
            images=measured.images,
            fingerprint=self.images.source.fingerprint,
            gate=verdict.gate,
            passed=verdict.passed,
            why=verdict.why,
        )
        return Outcome(
            target=stage.ensures,
            status="passed" if verdict.passed else "failed",
            why=verdict.why,
            measured=measured,
            evidence=(*(before.evidence if before else ()), evidence),
            logits=logits,
            portability_fault=fault or "",
        )

    def _diagnose(self, stage: Stage, outcome: Outcome) -> Outcome:
        """Add which layers the error comes from, and of what failed say so in its verdict."""
        layers, blame_fault = self._blame(stage, passed=outcome.status == "passed")
        outcome = replace(outcome, blame=layers, blame_fault=blame_fault)
        measured = outcome.measured
        # Where only another CPU would differ, no layer's error is at fault.
        at_fault = measured is not None and not judge(stage.ensures.precision, measured, self.config.gates).passed
        if layers is None or not at_fault:
            return outcome
        why = "; ".join(filter(None, (outcome.why, layers.worst())))
        return replace(outcome, why=why, evidence=(*outcome.evidence[:-1], replace(outcome.evidence[-1], why=why)))

    def _blame(self, stage: Stage, *, passed: bool) -> tuple[Blame | None, str]:
        """The layers that the error comes from, or why that cannot be said: a diagnosis that fails fails nothing."""
        if passed and stage.ensures.precision != "int8":
            return None, ""
        before = None if stage.requires is None else self.raw[stage.requires]

        def write(folder: Path) -> None:
            inputs, log = self.images.inputs(self.progress), self.scratch / f"{stage.name}.log"
            source = self.network if stage.requires is None else self._path(stage.requires)
            self.run(
                work.blame,
                folder,
                self._path(stage.ensures),
                source,
                inputs,
                self.reference,
                self.config.threads,
                log,
                self.progress,
            )

        key = self.keys.blame(self.raw[stage.ensures].digest, None if before is None else before.digest)
        entry = self._step(f"blame {stage.ensures}", key, write)
        return work.read_blame(entry.folder)

    def _seal(self, stage: Stage, outcome: Outcome) -> Outcome:
        """Write the contract, and put the artifact where its verdict says."""
        calibrated = self.calibration is not None and stage.calibrates
        made_with = (self.images.source, *((self.calibration.reference,) if calibrated and self.calibration else ()))
        spec = contract(self.source, self.config, outcome, made_with)
        filename = stage.ensures.filename(self.config.name)
        sealed = self.scratch / f"sealed-{stage.name}" / filename
        raw = self._path(stage.ensures)

        def write(folder: Path) -> None:
            log = self.scratch / f"{stage.name}.log"
            self.run(work.seal, folder, raw, sealed, dated(spec, provenance.now()), self.config.threads, log)

        entry = self._step(f"seal {stage.ensures}", self.keys.seal(self.raw[stage.ensures].digest, spec), write)
        recorded = read_recorded(entry.folder)
        passed = outcome.status == "passed"
        path = place(self.config.out, filename, passed=passed)
        if not stands(path, recorded.sha256):
            if not sealed.exists():
                seal_again(raw, sealed, spec, recorded)
            deliver(sealed, path)
        withdraw(place(self.config.out, filename, passed=not passed))
        return replace(outcome, path=path, steps=(*outcome.steps, _told("seal", entry)))

    def _time(self, what: str, artifacts: Mapping[str, tuple[Target, Entry]]) -> dict[str, float]:
        """Time artifacts against each other; all deliverables only when nothing else runs any more."""
        paths = {name: entry.folder / _raw_name(target) for name, (target, entry) in artifacts.items()}

        def write(folder: Path) -> None:
            inputs, log = self.images.inputs(self.progress), self.scratch / "timing.log"
            self.run(work.time_artifacts, folder, paths, inputs, self.config.threads, log)

        key = self.keys.timing({name: artifacts[name][1].digest for name in sorted(artifacts)})
        entry = self._step(f"timing, {what} in turn", key, write)
        times: dict[str, float] = json.loads((entry.folder / work.TIMES).read_text(encoding="utf-8"))
        return times

    # What the steps are, as functions that fill a folder of the cache.

    def _ask_reference(self, folder: Path) -> None:
        inputs, log = self.images.inputs(self.progress), self.scratch / "reference.log"
        self.run(work.run_reference, folder, self.network, inputs, log, self.progress)

    def _make(self, stage: Stage, folder: Path, *, keep_float: tuple[str, ...] = ()) -> None:
        job = Job(
            lazy_network=self.network,
            spec=self.source.spec,
            calibration=self.calibration.images() if self.calibration and stage.calibrates else None,
            quantize=self.config.quantize,
            keep_float=keep_float,
            ranges=self.keys.ranges,
        )
        source = None if stage.requires is None else self._path(stage.requires)
        self.run(work.make, folder, stage, job, source, _raw_name(stage.ensures), self.scratch / f"{stage.name}.log")

    def _verify(self, stage: Stage, folder: Path) -> None:
        inputs, log = self.images.inputs(self.progress), self.scratch / f"{stage.name}.log"
        path = self._path(stage.ensures)
        self.run(work.verify, folder, stage, path, inputs, self.config.threads, log, self.progress)

    def _step(self, name: str, key: str, write: Callable[[Path], None]) -> Entry:
        self._begin(name)
        return self.cache.get(key, name, self.config.name, write)

    def _key(self, stage: Stage, keep_float: tuple[str, ...] = ()) -> str:
        source = None if stage.requires is None else self.raw[stage.requires].digest
        return self.keys.artifact(stage, source, keep_float)

    def _path(self, target: Target) -> Path:
        return self.raw[target].folder / _raw_name(target)

    def _begin(self, step: str) -> None:
        with self.telling:
            self.observer.begin(step)


def _as_repair(layers: tuple[str, ...], outcome: Outcome, ms: float) -> Repair:
    assert outcome.measured is not None  # It was verified.
    return Repair(
        layers=layers,
        accuracy=outcome.measured.accuracy,
        agreement=outcome.measured.agreement,
        bytes=outcome.bytes,
        ms=ms,
        passed=outcome.status == "passed",
    )


def _raw_name(target: Target) -> str:
    """Artifacts have no name while they have no contract: what a stage makes does not depend on the user's."""
    return target.filename("model")


def _told(name: str, entry: Entry) -> Step:
    return Step(name=name, seconds=entry.manifest.seconds, cached=entry.cached, reproduced=entry.reproduced)


def _logits(entry: Entry) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = np.load(entry.folder / work.LOGITS)
    return logits


def _ignore(done: int, total: int) -> None:
    """Progress does not cross processes."""
