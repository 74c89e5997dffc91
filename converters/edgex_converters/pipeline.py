"""Runs the stages: make → verify → seal → deliver, target by target; what fell short never passes for good."""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgex_converters import timing
from edgex_converters.blame import Blame, diagnose
from edgex_converters.config import ConvertConfig
from edgex_converters.delivery import copy_artifact, deliver
from edgex_converters.evaluation import EvaluationSet, prepare
from edgex_converters.gates import judge
from edgex_converters.recipes import plan
from edgex_converters.result import Conversion, Outcome
from edgex_converters.stage import Job, Stage, load_entry
from edgex_converters.target import Target
from edgex_converters.tool_output import tail, tool_output_to
from edgex_runtime import dataset, provenance
from edgex_runtime.errors import EdgexError, StageError
from edgex_runtime.metadata.registry import artifact_files
from edgex_runtime.privacy import decline_telemetry
from edgex_runtime.spec import DatasetRef, Evidence, ModelSpec, Provenance

if TYPE_CHECKING:
    from torch import nn

LOG = "tools.log"


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """What is converted.

    Attributes:
        network: (N, H, W, 3) uint8 RGB → (N, classes) float32 logits, in evaluation mode.
        spec: Its contract.
        sha256: Of the file that its weights came from.
    """

    network: "nn.Module"
    spec: ModelSpec
    sha256: str


def convert(source: Source, config: ConvertConfig, observer: Observer) -> Conversion:
    """Make every target of `config`, each verified in its own engine and sealed with what was found.

    Artifacts that pass stand in ``config.out`` when this returns; those that fail their gate stand under
    ``config.out/rejected``, and their contract says so. A stage that breaks stops only the targets that stand on it.

    Raises:
        DatasetError: If calibration or evaluation photos cannot serve.
        MissingExtraError: If a tool is not installed.
    """
    decline_telemetry()
    stages = plan(config.targets)
    config.out.mkdir(parents=True, exist_ok=True)
    # Beside the results, so that a finished artifact goes there by one rename.
    with tempfile.TemporaryDirectory(prefix=".converting-", dir=config.out) as scratch:
        observer.begin("tools")
        with tool_output_to(Path(scratch) / LOG):
            for stage in stages:
                stage.load()  # A missing tool is an error now, not after an hour.
        run = _prepare(source, config, observer, Path(scratch))
        for stage in stages:
            run.attempt(stage)
        return run.conclude(stages)


def _prepare(source: Source, config: ConvertConfig, observer: Observer, scratch: Path) -> "_Run":
    """Read the photos, choose those that calibrate, and ask the reference."""
    from edgex_converters.stages import calibrate

    observer.begin("photos")
    photos = dataset.scan(config.evaluation)
    calibration, inputs = None, None
    if "int8" in config.precisions:
        assert config.calibration is not None  # ConvertConfig has checked it.
        chosen = calibrate.choose(dataset.scan(config.calibration), photos, config.quantize)
        calibration, inputs = calibrate.reference(chosen), calibrate.load(chosen, source.spec)
    observer.begin("reference")
    images = prepare(photos, source.spec, source.network, scratch / "inputs.npy", observer.advance)
    job = Job(network=source.network, spec=source.spec, calibration=inputs, quantize=config.quantize)
    return _Run(
        source=source,
        config=config,
        observer=observer,
        scratch=scratch,
        images=images,
        job=job,
        calibration=calibration,
    )


@dataclass(kw_only=True, eq=False)
class _Run:
    """One conversion: what its stages share, and what they have made so far."""

    source: Source
    config: ConvertConfig
    observer: Observer
    scratch: Path
    images: EvaluationSet
    job: Job
    calibration: DatasetRef | None

    def __post_init__(self) -> None:
        self.outcomes: dict[Target, Outcome] = {}
        # As the stages left them, without a contract: what the next stage starts from.
        self.raw: dict[Target, Path] = {}
        self.log = self.scratch / LOG

    def attempt(self, stage: Stage) -> None:
        """Make one target and judge it; a tool that breaks is an outcome too."""
        started = time.perf_counter()
        try:
            outcome = self._run(stage)
        except EdgexError as error:
            outcome = Outcome(target=stage.ensures, status="broken", why=str(error))
        outcome = replace(outcome, seconds=time.perf_counter() - started)
        self.outcomes[stage.ensures] = outcome
        if stage.ensures in self.config.targets:
            self.observer.finish(outcome)

    def conclude(self, stages: tuple[Stage, ...]) -> Conversion:
        """Time the artifacts against each other and gather everything."""
        asked = [self.outcomes[target] for target in self.config.targets]
        self.observer.begin("timing, all artifacts in turn")
        paths = {outcome.target: outcome.path for outcome in asked if outcome.path is not None}
        with tool_output_to(self.log):
            ms = timing.time_artifacts(paths, self.images.inputs, threads=self.config.threads)
        return Conversion(
            outcomes=tuple(replace(outcome, ms=ms.get(outcome.target)) for outcome in asked),
            spec=self.source.spec,
            reference=self.images.reference,
            labels=self.images.labels,
            paths=self.images.paths,
            versions=_versions(stages),
            calibration=self.calibration,
        )

    def _run(self, stage: Stage) -> Outcome:
        before = self.outcomes.get(stage.requires) if stage.requires else None
        if before is not None and before.status != "passed":
            raise StageError(f"it starts from {before.target}, which {before.status}")
        raw = self._make(stage)
        self.raw[stage.ensures] = raw
        self.observer.begin(f"verify {stage.ensures}")
        with tool_output_to(self.log):
            outcome = self._judge(stage, raw, before)
        outcome = replace(outcome, bytes=sum(file.stat().st_size for file in artifact_files(raw)))
        if stage.ensures not in self.config.targets:
            return outcome
        self.observer.begin(f"seal {stage.ensures}")
        with tool_output_to(self.log):
            sealed = self._seal(stage, raw, outcome)
        return replace(outcome, path=deliver(sealed, self.config.out, passed=outcome.status == "passed"))

    def _make(self, stage: Stage) -> Path:
        self.observer.begin(stage.name)
        folder = self.scratch / stage.name
        folder.mkdir()
        path = folder / stage.ensures.filename(self.config.name)
        source = None if stage.requires is None else self.raw[stage.requires]
        run, describe = stage.load(), stage.load_description()
        try:
            with tool_output_to(self.log):
                run(self.job, source, path)
                if describe is not None:
                    describe(path, self.source.spec)
        except EdgexError:
            raise
        # The tools raise what they like, from AssertionError to C++ classes of their own; here is where that ends.
        except Exception as error:
            first = (str(error).strip() or "no message").splitlines()[0]
            raise StageError(f"{stage.name} broke: {type(error).__name__}: {first}{tail(self.log)}") from error
        if not path.is_file():
            raise StageError(f"{stage.name} ended without an error and without a file{tail(self.log)}")
        return path

    def _judge(self, stage: Stage, path: Path, before: Outcome | None) -> Outcome:
        from edgex_converters.stages import verify

        measured, logits = verify.measure(
            path, self.images, threads=self.config.threads, progress=self.observer.advance
        )
        fault = load_entry(stage.portability)(path) if stage.portability else None
        verdict = judge(stage.ensures.precision, measured, self.config.gates, portability_fault=fault)
        layers, blame_fault = self._blame(stage, path, passed=verdict.passed)
        # Where only another CPU would differ, no layer's error is at fault.
        worst = layers.worst() if layers and not verdict.passed and not fault else ""
        verdict = replace(verdict, why="; ".join(filter(None, (verdict.why, worst))))
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
            blame=layers,
            blame_fault=blame_fault,
        )

    def _blame(self, stage: Stage, path: Path, *, passed: bool) -> tuple[Blame | None, str]:
        """The layers that the error comes from, or why that cannot be said: a diagnosis that fails fails nothing."""
        if passed and stage.ensures.precision != "int8":
            return None, ""
        self.observer.begin(f"blame {stage.ensures}")
        before = None if stage.requires is None else self.raw[stage.requires]
        try:
            found = diagnose(
                path,
                before,
                self.source.network,
                self.images,
                threads=self.config.threads,
                progress=self.observer.advance,
            )
        except StageError as error:
            return None, str(error)
        return found, ""

    def _seal(self, stage: Stage, raw: Path, outcome: Outcome) -> Path:
        from edgex_converters.stages import seal

        path = copy_artifact(raw, self.scratch / f"sealed-{stage.name}")
        spec = self.source.spec
        made_with = [self.images.source]
        if stage.ensures.precision == "int8" and self.calibration is not None:
            made_with.append(self.calibration)
        sealed = replace(
            spec,
            name=self.config.name,
            precision=stage.ensures.precision,
            evidence=(*spec.evidence, *outcome.evidence),
            provenance=Provenance(
                source_sha256=self.source.sha256,
                tools=_versions(plan([stage.ensures])),
                datasets=(*spec.provenance.datasets, *made_with),
                command=self.config.command,
                date=provenance.now(),
            ),
        )
        seal.run(path, sealed, threads=self.config.threads)
        return path


def _versions(stages: tuple[Stage, ...]) -> dict[str, str]:
    return provenance.tool_versions(tool for stage in stages for tool in stage.tools)
