"""How sure a model may sound: fits the temperature that its logits are divided by, and puts it into its contract.

On Calibration of Modern Neural Networks (Guo et al. 2017, arXiv:1706.04599). One number for all classes: labels and
their order stay, and so do the golden samples, which are logits.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.dataset import Dataset
from edgex_runtime.errors import BadInputError, DatasetError
from edgex_runtime.metadata.registry import artifact_sha256, read_spec, write_spec
from edgex_runtime.postprocess import softmax
from edgex_runtime.spec import Evidence, ModelSpec

STAGE = "temperature"
FEWEST = 100
"""Photos; from fewer, chance decides more than the network does."""
LOWEST, HIGHEST = 0.05, 20.0
WIDEST = 1.5
"""How far, as a factor, the end of the 95 % interval may be from the temperature."""
BINS = 15
_Z = 1.959963984540054
_STEPS = 100
_CLOSE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A temperature, and what it does to the photos that it was fitted on.

    Attributes:
        temperature: At which the likelihood of the right classes is largest.
        low: Of its 95 % interval.
        high: Of its 95 % interval.
        before: The temperature that the contract had.
        images: Photos.
        nll_before: Mean negative log-likelihood of the right class, with `before`; in nats.
        nll_after: With `temperature`.
        ece_before: Expected calibration error, 0..1, with `before`; see `expected_calibration_error`.
        ece_after: With `temperature`.
    """

    temperature: float
    low: float
    high: float
    before: float
    images: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model file before it is measured, and the photos that measure it.

    Attributes:
        path: The file.
        spec: Its contract.
        sha256: `artifact_sha256` of it.
        fingerprint: Of the photos.
    """

    path: Path
    spec: ModelSpec
    sha256: str
    fingerprint: str


def aim(path: Path, dataset: Dataset) -> Target:
    """Make sure, before minutes are spent on it, that these photos can give this file a temperature.

    Raises:
        BadInputError: If it has no contract, or gives probabilities.
        DatasetError: If the photos are too few, or those that it was trained on.
    """
    spec = read_spec(path)
    if spec is None:
        raise BadInputError(
            f"{path}: it carries no contract to write a temperature into: convert it with convert-model first"
        )
    if spec.output != "logits":
        raise BadInputError(f"{path}: want logits to divide, it gives {spec.output}: convert it without its softmax")
    _require_enough(len(dataset))
    fingerprint = dataset.fingerprint()
    if any(ref.role == "train" and ref.fingerprint == fingerprint for ref in spec.provenance.datasets):
        raise DatasetError(
            f"{dataset.root}: these are the photos that {path.name} was trained on, about which it is surer than about "
            "new ones: take photos that it has not seen"
        )
    return Target(path=path, spec=spec, sha256=artifact_sha256(path), fingerprint=fingerprint)


def calibrate(logits: NDArray[np.float32], truth: NDArray[np.integer], *, before: float) -> Calibration:
    """Fit a temperature.

    Args:
        logits: (N, classes), as the engine gave them.
        truth: (N,) indices of the right classes.
        before: The temperature so far.

    Raises:
        DatasetError: If the photos do not decide it: too few, all of them right without a doubt, or no better than
            chance.
    """
    _require_enough(len(truth))
    inverse, error = _fit(logits, truth)
    spread = math.exp(_Z * error)
    if spread > WIDEST:
        raise DatasetError(
            f"these {len(truth)} photos leave the temperature open between {1 / inverse / spread:.2g} and "
            f"{spread / inverse:.2g}: take more, or harder ones"
        )
    after = 1 / inverse
    return Calibration(
        temperature=after,
        low=after / spread,
        high=after * spread,
        before=before,
        images=len(truth),
        nll_before=negative_log_likelihood(logits, truth, before),
        nll_after=negative_log_likelihood(logits, truth, after),
        ece_before=expected_calibration_error(logits, truth, before),
        ece_after=expected_calibration_error(logits, truth, after),
    )


def store(target: Target, calibration: Calibration) -> ModelSpec:
    """Write a temperature into a model file's contract, atomically, with what it was measured by as evidence.

    Returns:
        The contract as written.

    Raises:
        BadInputError: If the file is another than the one that was measured.
    """
    path, spec = target.path, target.spec
    if artifact_sha256(path) != target.sha256:
        raise BadInputError(f"{path}: was changed while it was measured: measure it again")
    evidence = Evidence(
        stage=STAGE,
        metrics={
            "temperature": calibration.temperature,
            "temperature_low": calibration.low,
            "temperature_high": calibration.high,
            "nll_before": calibration.nll_before,
            "nll": calibration.nll_after,
            "ece_before": calibration.ece_before,
            "ece": calibration.ece_after,
        },
        images=calibration.images,
        fingerprint=target.fingerprint,
        gate="none: the temperature at which these photos' right classes are likeliest",
        passed=True,
    )
    kept = tuple(item for item in spec.evidence if item.stage != STAGE)
    written = replace(spec, temperature=calibration.temperature, evidence=(*kept, evidence))
    write_spec(path, written)
    return written


def negative_log_likelihood(logits: NDArray[np.float32], truth: NDArray[np.integer], temperature: float) -> float:
    """Mean over the photos, in nats.

    Args:
        logits: (N, classes).
        truth: (N,).
        temperature: Divides the logits.

    >>> round(negative_log_likelihood(np.zeros((1, 4), np.float32), np.array([2]), 1.0) / math.log(4), 9)
    1.0
    """
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    right = scaled[np.arange(len(truth)), truth]
    return float((np.log(np.exp(scaled).sum(axis=1)) - right).mean())


def expected_calibration_error(logits: NDArray[np.float32], truth: NDArray[np.integer], temperature: float) -> float:
    """How far, on average, the score of the likeliest class is from the share of photos of such a score that are right.

    Fifteen bins of equal width, as in the paper.

    Args:
        logits: (N, classes).
        truth: (N,).
        temperature: Divides the logits.

    Returns:
        0..1.
    """
    probabilities = softmax(logits, temperature)
    scores, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((scores * BINS).astype(np.intp), BINS - 1)
    gaps = np.bincount(bins, weights=scores - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(truth))


def _require_enough(photos: int) -> None:
    if photos < FEWEST:
        raise DatasetError(f"a temperature wants {FEWEST} photos or more, got {photos}: take more")


def _fit(logits: NDArray[np.float32], truth: NDArray[np.integer]) -> tuple[float, float]:
    """The inverse temperature at which the likelihood is largest, and the standard error of its logarithm.

    The likelihood is convex in the inverse temperature: Newton's steps, kept between two bounds that close in.
    """
    low, high = 1 / HIGHEST, 1 / LOWEST
    if _slope(logits, truth, low)[0] >= 0:
        raise DatasetError(
            "the model's answers for these photos are no better than chance, which no temperature mends: look at its "
            "accuracy, and whether the folders have the right names"
        )
    if _slope(logits, truth, high)[0] <= 0:
        raise DatasetError(
            "the model is right about these photos without a doubt, so that nothing tells how sure it may be: take "
            "harder ones, or more"
        )
    inverse = 1.0
    for _ in range(_STEPS):
        slope, curvature = _slope(logits, truth, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        newton = inverse - slope / curvature if curvature > 0 else low
        following = newton if low < newton < high else math.sqrt(low * high)
        if abs(following - inverse) <= _CLOSE * inverse:
            break
        inverse = following
    curvature = _slope(logits, truth, inverse)[1]
    return inverse, 1 / (inverse * math.sqrt(curvature * len(truth)))


def _slope(logits: NDArray[np.float32], truth: NDArray[np.integer], inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood by the inverse temperature."""
    centred = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    probabilities = softmax(centred, 1 / inverse)
    mean = (probabilities * centred).sum(axis=1)
    variance = (probabilities * np.square(centred)).sum(axis=1) - np.square(mean)
    return float((mean - centred[np.arange(len(truth)), truth]).mean()), float(variance.mean())
