"""Runs the stages: make → verify → seal → deliver, target by target; what fell short never passes for good.

What a step does, and that it is done only once, is in `steps.py`: here is only the order of things.
"""

import secrets
import time
from dataclasses import dataclass, replace

from edgex_converters import work
from edgex_converters.blame import Blame
from edgex_converters.cache import open_cache, passing_cache
from edgex_converters.calibration import CalibrationSet
from edgex_converters.calibration import choose as choose_calibration
from edgex_converters.config import ConvertConfig
from edgex_converters.delivery import deliver, place, stands, withdraw
from edgex_converters.evaluation import identify
from edgex_converters.gates import judge, measure
from edgex_converters.keys import Keys
from edgex_converters.observer import Observer, Serial
from edgex_converters.processes import in_order
from edgex_converters.recipes import plan
from edgex_converters.repair import ops_of, search
from edgex_converters.result import Conversion, Outcome, Repair
from edgex_converters.scratch import scratch_folder
from edgex_converters.sealing import contract, read_recorded, seal_again
from edgex_converters.source import Source as Source
from edgex_converters.stage import Stage
from edgex_converters.steps import Raw, Steps, raw_path, told
from edgex_converters.target import Target
from edgex_runtime import dataset, provenance
from edgex_runtime.dataset import Dataset
from edgex_runtime.errors import EdgexError, StageError
from edgex_runtime.privacy import decline_telemetry
from edgex_runtime.spec import Evidence, ModelSpec


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
            ranges=source.ranges_for(config.quantize),
        )
        keep = config.use_cache and network.identity is not None
        with open_cache() if keep else passing_cache(scratch / "cache") as cache:
            steps = Steps(
                network=network,
                spec=source.spec,
                config=config,
                observer=Serial(observer),
                scratch=scratch,
                images=images,
                calibration=calibration,
                keys=keys,
                cache=cache,
            )
            # A step that turns the network into another one goes here: a `LazyNetwork` whose identity is the step's key
            # (network and calibration photos) takes the place of `network` in the steps and in the exports' keys.
            return _Run(source=source, steps=steps).convert()


def _calibration(config: ConvertConfig, photos: Dataset, source: Source) -> CalibrationSet | None:
    if "int8" not in config.precisions:
        return None
    assert config.calibration is not None  # ConvertConfig has checked it.
    return choose_calibration(config.calibration, photos, source.spec, config.quantize)


def _shortfalls(spec: ModelSpec) -> tuple[str, ...]:
    """What the source says of itself that no artifact of it can be better than."""
    return tuple(
        f"the source's own gate of {evidence.stage} did not hold ({evidence.why}); every artifact's contract says so "
        "too, and the gates here only hold artifacts to the source"
        for evidence in spec.evidence
        if not evidence.passed
    )


@dataclass(kw_only=True, eq=False)
class _Run:
    """One conversion: what was made and judged so far."""

    source: Source
    steps: Steps

    def __post_init__(self) -> None:
        self.config, self.observer, self.images = self.steps.config, self.steps.observer, self.steps.images
        self.stages = plan(self.config.targets, self.steps.network.kind)
        self.outcomes: dict[Target, Outcome] = {}
        self.raw: dict[Target, Raw] = {}

    def convert(self) -> Conversion:
        """Everything, in order."""
        warnings = (*_shortfalls(self.source.spec), *self.steps.judge_calibration())
        self._find_or_load_tools()
        self.reference = self.steps.reference()
        in_order(self.stages, self._attempt, self.config.jobs)
        asked = [self.outcomes[target] for target in self.config.targets]
        there = [outcome for outcome in asked if outcome.path is not None]
        made = {str(outcome.target): (outcome.target, self.raw[outcome.target]) for outcome in there}
        # Only when nothing else runs any more.
        ms = self.steps.time("all artifacts", made) if made else {}
        calibration = self.steps.calibration
        return Conversion(
            outcomes=tuple(replace(outcome, ms=ms.get(str(outcome.target))) for outcome in asked),
            spec=self.source.spec,
            reference=self.reference,
            labels=self.images.labels,
            paths=self.images.paths,
            versions=provenance.tool_versions(tool for stage in self.stages for tool in stage.tools),
            calibration=calibration.reference if calibration else None,
            warnings=warnings,
            calibration_classes=calibration.classes if calibration else {},
            learned_ranges=len(self.steps.keys.ranges or ()),
            intermediates=tuple(made for target, made in self.outcomes.items() if target not in self.config.targets),
        )

    def _find_or_load_tools(self) -> None:
        """What the cache has needs no tool."""
        for stage in self.stages:
            before = self._before(stage)
            found = self.steps.find(stage, before) if stage.requires is None or before is not None else None
            if found is not None:
                self.raw[stage.ensures] = found
        missing = tuple(stage for stage in self.stages if stage.ensures not in self.raw)
        if missing:
            self.steps.load_tools(missing)

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
            self.observer.finish(outcome)

    def _make_and_judge(self, stage: Stage) -> Outcome:
        source = self.outcomes.get(stage.requires) if stage.requires else None
        if source is not None and source.status != "passed":
            raise StageError(f"it starts from {source.target}, which {source.status}")
        if stage.ensures not in self.raw:
            self.raw[stage.ensures] = self.steps.make(stage, self._before(stage))
        outcome = self._diagnose(stage, self._verify_and_judge(stage))
        # No layer in float mends what another CPU would answer.
        repairable = outcome.status == "failed" and stage.calibrates and not outcome.portability_fault
        if self.config.repair and repairable and outcome.blame is not None:
            outcome = self._repair(stage, outcome, outcome.blame)
        return self._seal(stage, outcome) if stage.ensures in self.config.targets else outcome

    def _verify_and_judge(self, stage: Stage) -> Outcome:
        raw, config = self.raw[stage.ensures], self.config
        verified = self.steps.verify(stage, raw)
        measured = measure(verified.logits, self.reference, self.images.labels)
        fault = verified.portability_fault
        verdict = judge(stage.ensures.precision, measured, config.gates, portability_fault=fault)
        evidence = Evidence(
            stage=stage.name,
            metrics=measured.metrics,
            images=measured.images,
            fingerprint=self.images.source.fingerprint,
            gate=verdict.gate,
            passed=verdict.passed,
            why=verdict.why,
        )
        source = self.outcomes.get(stage.requires) if stage.requires else None
        return Outcome(
            target=stage.ensures,
            status="passed" if verdict.passed else "failed",
            why=verdict.why,
            bytes=work.artifact_bytes(raw.folder),
            steps=(told(stage.name, raw), verified.step),
            measured=measured,
            evidence=(*(source.evidence if source else ()), evidence),
            logits=verified.logits,
            portability_fault=fault or "",
            remarks=work.read_remarks(raw.folder),
        )

    def _diagnose(self, stage: Stage, outcome: Outcome) -> Outcome:
        """Add which layers the error comes from, and of what failed say so in its verdict.

        A diagnosis that fails fails nothing.
        """
        measured = outcome.measured
        if measured is None or (outcome.status == "passed" and stage.ensures.precision != "int8"):
            return outcome
        layers, why_not = self.steps.blame(stage, self.raw[stage.ensures], self._before(stage), self.reference)
        outcome = replace(outcome, blame=layers, blame_fault=why_not)
        # Where only another CPU would differ, no layer's error is at fault.
        if layers is None or judge(stage.ensures.precision, measured, self.config.gates).passed:
            return outcome
        why = "; ".join(filter(None, (outcome.why, layers.worst())))
        return replace(outcome, why=why, evidence=(*outcome.evidence[:-1], replace(outcome.evidence[-1], why=why)))

    def _repair(self, stage: Stage, failed: Outcome, blame: Blame) -> Outcome:
        """Keep layers in float until the gate holds; if it never does, all stays as it was."""
        target, remarks = stage.ensures, []
        tries: dict[tuple[str, ...], tuple[Raw, Outcome]] = {(): (self.raw[target], failed)}

        def attempt(layers: tuple[str, ...]) -> Outcome | None:
            in_float = f"{', '.join(layers)} in float"
            name = f"repair {target}: {in_float}"
            try:
                self.raw[target] = self.steps.make(stage, self._before(stage), ops_of(blame, layers), name)
                outcome = self._verify_and_judge(stage)
            except EdgexError as error:
                remarks.append(f"repair with {in_float}: {error}")
                return None
            tries[layers] = (self.raw[target], outcome)
            return outcome

        best = search(blame, self.config.repair_layers, failed, attempt)
        made = {", ".join(layers): (target, raw) for layers, (raw, _) in tries.items()}
        ms = self.steps.time(f"repairs of {target}", made)
        self.raw[target], outcome = tries[best]
        if best:
            remarks.append(f"repaired: {', '.join(best)} in float")
            outcome = self._diagnose(stage, outcome)
        return replace(
            outcome,
            remarks=(*outcome.remarks, *remarks),
            repairs=tuple(Repair.of(layers, outcome, ms[", ".join(layers)]) for layers, (_, outcome) in tries.items()),
        )

    def _seal(self, stage: Stage, outcome: Outcome) -> Outcome:
        """Write the contract, and put the artifact where its verdict says."""
        calibration = self.steps.calibration if stage.calibrates else None
        made_with = (self.images.source, *((calibration.reference,) if calibration else ()))
        spec = contract(self.source, self.config, outcome, made_with)
        filename = stage.ensures.filename(self.config.name)
        raw, sealed = self.raw[stage.ensures], self.steps.scratch / f"sealed-{stage.name}" / filename
        entry = self.steps.seal(stage, raw, spec, sealed)
        recorded = read_recorded(entry.folder)
        passed = outcome.status == "passed"
        path = place(self.config.out, filename, passed=passed)
        if not stands(path, recorded.sha256):
            if not sealed.exists():
                seal_again(raw_path(raw, stage.ensures), sealed, spec, recorded)
            deliver(sealed, path)
        withdraw(place(self.config.out, filename, passed=not passed))
        return replace(outcome, path=path, steps=(*outcome.steps, told("seal", entry)))

    def _before(self, stage: Stage) -> Raw | None:
        """What the stage starts from; None stands for the network, or for what is not there yet."""
        return None if stage.requires is None else self.raw.get(stage.requires)
