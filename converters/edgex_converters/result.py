"""What a conversion gives back: one outcome a target, and what they were measured on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgex_converters.blame import Blame
from edgex_converters.gates import Measurement
from edgex_converters.target import Target
from edgex_runtime.errors import AccuracyGateError, EdgexError, ParityError, StageError
from edgex_runtime.spec import DatasetRef, Evidence, ModelSpec

Status = Literal["passed", "failed", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step on the way to a target.

    Attributes:
        name: ``quantize_onnx``, ``verify``, ``seal``.
        seconds: What it took when it ran.
        cached: Whether that was in an earlier run.
        reproduced: Whether it gave the bytes that an earlier run got of the same inputs; None where that is not known.
    """

    name: str
    seconds: float
    cached: bool
    reproduced: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """An int8 artifact with some layers in float, and what that costs.

    Attributes:
        layers: In float, as the reference network calls them; none for the artifact that failed.
        accuracy: Top-1, 0..1.
        agreement: Share of images with the reference's top-1.
        bytes: Size of all its files.
        ms: Median milliseconds an image, all of them in turn in one run.
        passed: Its gate.
    """

    layers: tuple[str, ...]
    accuracy: float
    agreement: float
    bytes: int
    ms: float
    passed: bool

    @classmethod
    def of(cls, layers: tuple[str, ...], outcome: "Outcome", ms: float) -> "Repair":
        """What came of keeping `layers` in float."""
        assert outcome.measured is not None  # It was verified.
        return cls(
            layers=layers,
            accuracy=outcome.measured.accuracy,
            agreement=outcome.measured.agreement,
            bytes=outcome.bytes,
            ms=ms,
            passed=outcome.status == "passed",
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What became of one target.

    Attributes:
        target: Format and precision.
        status: ``passed`` its gate, ``failed`` it, or ``broken``: a tool could not make it.
        why: What fell short or broke; empty where it passed.
        path: Where the file is: in the output folder if it passed, under ``rejected/`` if it failed, else None.
        bytes: Size of all its files.
        seconds: What making and verifying it took, in this run.
        steps: Of what; those of the artifact that it starts from are that one's.
        measured: The figures; None if it is broken.
        evidence: What the contract says of it and of the stages before.
        logits: (N, classes) on the evaluation images; None if it is broken.
        ms: Median milliseconds an image, batch 1, all artifacts in turn in one run; None until measured.
        portability_fault: Why it would answer differently on another CPU; empty where that is not known to happen.
        blame: Which layers its error comes from; None unless it is int8 or failed, and where that cannot be said.
        blame_fault: Why it cannot be said.
        remarks: What the stage that made it has to say of how.
        repairs: What was tried when it failed, fewest layers in float first; empty where nothing was.
    """

    target: Target
    status: Status
    why: str = ""
    path: Path | None = None
    bytes: int = 0
    seconds: float = 0.0
    steps: tuple[Step, ...] = ()
    measured: Measurement | None = None
    evidence: tuple[Evidence, ...] = ()
    logits: NDArray[np.float32] | None = None
    ms: float | None = None
    portability_fault: str = ""
    blame: Blame | None = None
    blame_fault: str = ""
    remarks: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()

    @property
    def cached(self) -> bool:
        """Whether nothing had to be run for it."""
        return bool(self.steps) and all(step.cached for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conversion:
    """Every outcome, the deliverables first in the order asked for.

    Attributes:
        outcomes: One a target that was asked for.
        spec: The checkpoint's contract.
        reference: The PyTorch network's logits on the evaluation images.
        labels: (N,) true class of each.
        paths: Of the evaluation photos.
        versions: Tools, by package.
        calibration: The photos that decided the int8 scales; None where nothing is quantised.
        warnings: What a user should know of the photos though it stops nothing, a line each.
        calibration_classes: How many of those photos each class has, by its folder's name.
        learned_ranges: How many activation ranges int8 took from quantisation-aware training; 0 where it calibrated.
        intermediates: What was made only because a target starts from it.
    """

    outcomes: tuple[Outcome, ...]
    spec: ModelSpec
    reference: NDArray[np.float32]
    labels: NDArray[np.int64]
    paths: tuple[Path, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    calibration: DatasetRef | None = None
    warnings: tuple[str, ...] = ()
    calibration_classes: Mapping[str, int] = field(default_factory=dict)
    learned_ranges: int = 0
    intermediates: tuple[Outcome, ...] = ()

    @property
    def reference_accuracy(self) -> float:
        """Top-1 of the PyTorch network, 0..1."""
        return float((self.reference.argmax(1) == self.labels).mean())

    def failure(self) -> EdgexError | None:
        """The gravest thing that went wrong, as the error that stands for it; None if every artifact passed."""
        broken = [outcome for outcome in self.outcomes if outcome.status == "broken"]
        failed = [outcome for outcome in self.outcomes if outcome.status == "failed"]
        if broken:
            return StageError(f"{_list(broken)}: could not be made")
        changed = [outcome for outcome in failed if outcome.target.precision != "int8"]
        if changed:
            return ParityError(f"{_list(changed)}: the answers differ from the network's")
        if failed:
            return AccuracyGateError(f"{_list(failed)}: the accuracy gate does not hold")
        return None


def _list(outcomes: list[Outcome]) -> str:
    return "; ".join(f"{outcome.target} ({outcome.why})" for outcome in outcomes)
