"""The steps of a conversion: each looked up under its key (`keys.py`), and run (`work.py`) where the cache has nothing.

Nothing here judges or decides what comes next; that is the pipeline's.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex_converters import work
from edgex_converters.blame import Blame
from edgex_converters.cache import Cache, Entry
from edgex_converters.calibration import CalibrationSet
from edgex_converters.config import ConvertConfig
from edgex_converters.evaluation import EvaluationSet, open_inputs
from edgex_converters.keys import Keys
from edgex_converters.observer import Observer
from edgex_converters.processes import Runner, run_apart, run_here
from edgex_converters.result import Step
from edgex_converters.sealing import dated
from edgex_converters.source import LazyNetwork
from edgex_converters.stage import Job, Stage
from edgex_converters.target import Target
from edgex_runtime import provenance
from edgex_runtime.spec import ModelSpec

_WARNINGS = "warnings.json"

# An artifact as its stage left it, without a contract: what the next stage starts from.
Raw = Entry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verified:
    """What an artifact answers.

    Attributes:
        logits: (N, classes) on the evaluation images.
        portability_fault: Why it would answer differently on another CPU; None where that is not known to happen.
        step: What that took.
    """

    logits: NDArray[np.float32]
    portability_fault: str | None
    step: Step


@dataclass(kw_only=True, eq=False)
class Steps:
    """The steps of one conversion, and what they share.

    Attributes:
        network: What is converted.
        spec: Its contract.
        config: How.
        observer: Told of each step.
        scratch: A folder for what nobody keeps.
        images: What judges.
        calibration: What int8 is calibrated on; None where nothing is.
        keys: Of the cache.
        cache: What was made before.
    """

    network: LazyNetwork
    spec: ModelSpec
    config: ConvertConfig
    observer: Observer
    scratch: Path
    images: EvaluationSet
    calibration: CalibrationSet | None
    keys: Keys
    cache: Cache

    def __post_init__(self) -> None:
        alone = self.config.jobs == 1
        self._run: Runner = run_here if alone else run_apart
        self._progress = self.observer.advance if alone else _ignore

    def judge_calibration(self) -> tuple[str, ...]:
        """What a user should know of the photos that calibrate.

        Raises:
            DatasetError: If they must not.
        """
        calibration = self.calibration
        if calibration is None:
            return ()

        def write(folder: Path) -> None:
            warnings = calibration.judge()
            inputs = open_inputs(self.images.inputs(self.observer.advance))
            warnings += calibration.compare(inputs, self.images.paths)
            (folder / _WARNINGS).write_text(json.dumps(warnings), encoding="utf-8")

        key = self.keys.calibration_verdict((*calibration.paths, *self.images.paths), calibration.warnings)
        return tuple(_read(self._step("photos that calibrate", key, write), _WARNINGS))

    def load_tools(self, stages: tuple[Stage, ...]) -> None:
        """Import what `stages` need: a missing tool is an error now, not after an hour.

        Raises:
            MissingExtraError: If one is not installed.
        """
        self.observer.begin("tools")
        self._run(work.load_tools, stages, self.scratch / "tools.log")

    def reference(self) -> NDArray[np.float32]:
        """(N, classes): the network's logits on the evaluation images."""

        def write(folder: Path) -> None:
            inputs, log = self.images.inputs(self._progress), self.scratch / "reference.log"
            self._run(work.run_reference, folder, self.network, inputs, log, self._progress)

        return _logits(self._step("reference", self.keys.reference(), write))

    def find(self, stage: Stage, before: Raw | None) -> Raw | None:
        """What `stage` makes of `before`, if it was made before."""
        return self.cache.find(self._key(stage, before))

    def make(self, stage: Stage, before: Raw | None, keep_float: tuple[str, ...] = (), name: str = "") -> Raw:
        """What `stage` makes of `before`.

        Args:
            stage: Which.
            before: What it starts from; None stands for the network.
            keep_float: The ops that it leaves in float.
            name: Of the step, if it is not the stage's.
        """

        def write(folder: Path) -> None:
            job = Job(
                lazy_network=self.network,
                spec=self.spec,
                calibration=self.calibration.images() if self.calibration and stage.calibrates else None,
                quantize=self.config.quantize,
                keep_float=keep_float,
                ranges=self.keys.ranges,
            )
            source = None if stage.requires is None or before is None else raw_path(before, stage.requires)
            self._run(work.make, folder, stage, job, source, _raw_name(stage.ensures), self._log(stage))

        return self._step(name or stage.name, self._key(stage, before, keep_float), write)

    def verify(self, stage: Stage, raw: Raw) -> Verified:
        """What the artifact answers in its own engine."""

        def write(folder: Path) -> None:
            inputs, path = self.images.inputs(self._progress), raw_path(raw, stage.ensures)
            self._run(work.verify, folder, stage, path, inputs, self.config.threads, self._log(stage), self._progress)

        entry = self._step(f"verify {stage.ensures}", self.keys.logits(raw.digest), write)
        return Verified(logits=_logits(entry), portability_fault=_read(entry, work.FAULT), step=told("verify", entry))

    def blame(
        self, stage: Stage, raw: Raw, before: Raw | None, reference: NDArray[np.float32]
    ) -> tuple[Blame | None, str]:
        """The layers that the artifact's error comes from, or why that cannot be said."""

        def write(folder: Path) -> None:
            inputs = self.images.inputs(self._progress)
            source = self.network if stage.requires is None or before is None else raw_path(before, stage.requires)
            self._run(
                work.blame,
                folder,
                raw_path(raw, stage.ensures),
                source,
                inputs,
                reference,
                self.config.threads,
                self._log(stage),
                self._progress,
            )

        key = self.keys.blame(raw.digest, None if before is None else before.digest)
        return work.read_blame(self._step(f"blame {stage.ensures}", key, write).folder)

    def seal(self, stage: Stage, raw: Raw, spec: ModelSpec, sealed: Path) -> Entry:
        """Write the contract into a copy of the artifact at `sealed`; what only a run of it could tell is in the entry.

        `sealed` is not written where the entry was there.
        """

        def write(folder: Path) -> None:
            path, dated_spec = raw_path(raw, stage.ensures), dated(spec, provenance.now())
            self._run(work.seal, folder, path, sealed, dated_spec, self.config.threads, self._log(stage))

        return self._step(f"seal {stage.ensures}", self.keys.seal(raw.digest, spec), write)

    def time(self, what: str, artifacts: Mapping[str, tuple[Target, Raw]]) -> dict[str, float]:
        """Milliseconds an image of each artifact, all in turn in one run."""

        def write(folder: Path) -> None:
            paths = {name: raw_path(raw, target) for name, (target, raw) in artifacts.items()}
            inputs, log = self.images.inputs(self._progress), self.scratch / "timing.log"
            self._run(work.time_artifacts, folder, paths, inputs, self.config.threads, log)

        key = self.keys.timing({name: artifacts[name][1].digest for name in sorted(artifacts)})
        times: dict[str, float] = _read(self._step(f"timing, {what} in turn", key, write), work.TIMES)
        return times

    def _step(self, name: str, key: str, write: Callable[[Path], None]) -> Entry:
        self.observer.begin(name)
        return self.cache.get(key, name, self.config.name, write)

    def _key(self, stage: Stage, before: Raw | None, keep_float: tuple[str, ...] = ()) -> str:
        source = None if stage.requires is None or before is None else before.digest
        return self.keys.artifact(stage, source, keep_float)

    def _log(self, stage: Stage) -> Path:
        return self.scratch / f"{stage.name}.log"


def raw_path(raw: Raw, target: Target) -> Path:
    """The artifact in its entry."""
    return raw.folder / _raw_name(target)


def told(name: str, entry: Entry) -> Step:
    """What a step took, for the report."""
    return Step(name=name, seconds=entry.manifest.seconds, cached=entry.cached, reproduced=entry.reproduced)


def _raw_name(target: Target) -> str:
    """Artifacts have no name while they have no contract: what a stage makes does not depend on the user's."""
    return target.filename("model")


def _read(entry: Entry, name: str) -> Any:
    return json.loads((entry.folder / name).read_text(encoding="utf-8"))


def _logits(entry: Entry) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = np.load(entry.folder / work.LOGITS)
    return logits


def _ignore(done: int, total: int) -> None:
    """Progress does not cross processes."""
