"""The rules that every artifact must keep, and what is said of one that does not."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edgex_converters.config import GateConfig
from edgex_runtime import evaluate
from edgex_runtime.spec import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What the evaluation images showed of one artifact, in its real engine.

    Attributes:
        images: How many.
        accuracy: Top-1, 0..1.
        accuracy_low: Lower end of its 95 % Wilson interval.
        accuracy_high: Upper end.
        reference_accuracy: The PyTorch network's top-1 on the same images.
        agreement: Share of images with the reference's top-1.
        difference: Largest absolute logit difference, as a share of the reference logits' range.
        sqnr_db: Signal-to-quantisation-noise ratio of the logits, in dB.
    """

    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    reference_accuracy: float
    agreement: float
    difference: float
    sqnr_db: float

    @property
    def metrics(self) -> Mapping[str, float]:
        """For the contract's evidence: every finite figure by name."""
        return {name: value for name, value in asdict(self).items() if name != "images" and math.isfinite(value)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate said: the rule in words, and where it did not hold, why."""

    gate: str
    passed: bool
    why: str = ""


def measure(logits: NDArray[np.float32], reference: NDArray[np.float32], labels: NDArray[np.int64]) -> Measurement:
    """Measure an artifact's logits.

    Args:
        logits: (N, classes) of the artifact.
        reference: (N, classes) of the PyTorch network on the same images.
        labels: (N,) true classes.
    """
    accuracy = evaluate.wilson(int((logits.argmax(1) == labels).sum()), len(labels))
    return Measurement(
        images=len(labels),
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        reference_accuracy=float((reference.argmax(1) == labels).mean()),
        agreement=evaluate.agreement(reference, logits),
        difference=evaluate.max_abs_difference_of_range(reference, logits),
        sqnr_db=evaluate.sqnr_db(reference, logits),
    )


def judge(
    precision: Precision, measured: Measurement, gates: GateConfig, *, portability_fault: str | None = None
) -> Verdict:
    """Hold a measurement against the gate of its precision.

    Args:
        precision: Of the artifact.
        measured: On the evaluation images.
        gates: The limits.
        portability_fault: Why the file would answer differently on another CPU; None if nothing is known of that.
    """
    gate, faults = _RULES[precision](measured, gates)
    if portability_fault:
        faults.append(portability_fault)
    return Verdict(gate=gate, passed=not faults, why="; ".join(faults))


def _same_answers(measured: Measurement, gates: GateConfig) -> tuple[str, list[str]]:
    limit = gates.fp32_difference
    faults = []
    # `not <=` rather than `>`: a NaN is a fault too.
    if not measured.difference <= limit:
        faults.append(f"logits differ by {measured.difference:.2g} of their range, allowed is {limit:.2g}")
    if measured.agreement < 1.0:
        faults.append(f"top-1 differs on {_count(1 - measured.agreement, measured)} images, allowed is none")
    return f"logits within {limit:g} of their range, same top-1 on every image", faults


def _same_top1(measured: Measurement, gates: GateConfig) -> tuple[str, list[str]]:
    limit = gates.fp16_agreement
    faults = _too_few(measured, limit)
    if not measured.agreement >= limit:
        faults.append(f"top-1 agrees on {measured.agreement:.2%}, wanted {limit:.2%}")
    return f"top-1 agreement ≥ {limit:.1%}", faults


def _same_accuracy(measured: Measurement, gates: GateConfig) -> tuple[str, list[str]]:
    limit = gates.int8_accuracy
    faults = _too_few(measured, limit)
    wanted = limit * measured.reference_accuracy
    if not measured.accuracy >= wanted:
        faults.append(
            f"top-1 {measured.accuracy:.1%}, wanted {wanted:.1%}, "
            f"which is {limit:.1%} of fp32's {measured.reference_accuracy:.1%}"
        )
    return f"accuracy ≥ {limit:.1%} of fp32's", faults


def _too_few(measured: Measurement, limit: float) -> list[str]:
    """One photo must not weigh more than the whole loss that the gate allows."""
    wanted = math.ceil(round(1 / (1 - limit), 6)) if limit < 1 else 1
    if measured.images >= wanted:
        return []
    return [f"{measured.images} evaluation images cannot decide a gate of {limit:.1%}: give {wanted} or more"]


def _count(share: float, measured: Measurement) -> int:
    return round(share * measured.images)


_RULES = {"fp32": _same_answers, "fp16": _same_top1, "int8": _same_accuracy}
