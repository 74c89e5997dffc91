"""How good is a model on labelled photos, and how alike are two models' logits.

`evaluate` is what `edgex eval` calls; the functions on arrays are also what the conversion gates are made of.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.dataset import Dataset
from edgex_runtime.errors import DatasetError, ImageError
from edgex_runtime.model import Model

TOP = 5
# 97.5 % point of the normal distribution: 5 % lie outside, on both sides together.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of images with its 95 % interval, all 0..1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class.

    Attributes:
        label: Its name.
        precision: Of the images said to be it, the share that are; 0 where it was never said.
        recall: Of the images that are it, the share said to be; 0 where there are none.
        support: How many images are it.
    """

    label: str
    precision: float
    recall: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A photo that was left out, and why."""

    path: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A model on a folder of photos.

    Attributes:
        images: How many were classified; unreadable ones are not among them.
        top1: Share of images whose likeliest class is the right one.
        top5: Share whose right class is among the five likeliest; None below 6 classes, where it says nothing.
        classes: One for each of the model's labels.
        confusion: Row: the right class, column: the one that was said.
        inference_ms: Median of the engine's time for one image.
        unreadable: What was left out.
    """

    images: int
    top1: Share
    top5: Share | None
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    inference_ms: float
    unreadable: tuple[Unreadable, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What a model said to the photos of a folder.

    Attributes:
        logits: (N, classes).
        truth: (N,) indices of the right classes.
        inference_ms: Median of the engine's time for one photo.
        unreadable: What was left out.
    """

    logits: NDArray[np.float32]
    truth: NDArray[np.integer]
    inference_ms: float
    unreadable: tuple[Unreadable, ...]


def evaluate(model: Model, dataset: Dataset, progress: Callable[[int], None] | None = None) -> Evaluation:
    """Classify every photo of a dataset, and measure. See `answer`."""
    return measure_answers(answer(model, dataset, progress), model.spec.labels)


def answer(model: Model, dataset: Dataset, progress: Callable[[int], None] | None = None) -> Answers:
    """Classify every photo of a dataset, one at a time, as a camera's frames are.

    Args:
        model: Open.
        dataset: Its labels are matched to the model's by name; the model may know more.
        progress: Called after each photo with how many are done.

    Raises:
        DatasetError: If a class is none of the model's, or no photo can be read.
    """
    index = match_labels(dataset, model.spec.labels)
    predictions, truth = [], []
    unreadable: list[Unreadable] = []
    for done, photo in enumerate(dataset.files, start=1):
        try:
            predictions.append(model.predict(photo.path))
            truth.append(index[photo.label])
        except ImageError as error:
            unreadable.append(Unreadable(path=str(photo.path), why=str(error)))
        if progress is not None:
            progress(done)
    if not predictions:
        raise DatasetError(f"{dataset.root}: none of its {len(dataset.files)} photos can be read: {unreadable[0].why}")
    return Answers(
        logits=np.stack([prediction.logits for prediction in predictions]),
        truth=np.array(truth),
        inference_ms=float(np.median([prediction.timing.inference_ms for prediction in predictions])),
        unreadable=tuple(unreadable),
    )


def measure_answers(answers: Answers, labels: tuple[str, ...]) -> Evaluation:
    """Figures of merit of what a model said."""
    return measure(
        answers.logits, answers.truth, labels, inference_ms=answers.inference_ms, unreadable=answers.unreadable
    )


def match_labels(dataset: Dataset, labels: tuple[str, ...]) -> tuple[int, ...]:
    """For each label of a dataset, where the model has the same name.

    Raises:
        DatasetError: Naming the classes that the model does not know.
    """
    unknown = [label for label in dataset.labels if label not in labels]
    if unknown:
        known = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
        raise DatasetError(
            f"{dataset.root}: the model does not know {', '.join(unknown)}; it knows {known}: "
            "give the folders the model's names, or leave these out"
        )
    return tuple(labels.index(label) for label in dataset.labels)


def measure(
    logits: NDArray[np.float32],
    truth: NDArray[np.integer],
    labels: tuple[str, ...],
    *,
    inference_ms: float = 0.0,
    unreadable: tuple[Unreadable, ...] = (),
) -> Evaluation:
    """Figures of merit.

    Args:
        logits: (N, classes), N ≥ 1; probabilities give the same.
        truth: (N,) indices of the right classes.
        labels: In the order of the logits.
        inference_ms: Passed on.
        unreadable: Passed on.
    """
    classes = len(labels)
    confusion = np.bincount(truth * classes + logits.argmax(1), minlength=classes * classes).reshape(classes, classes)
    right, support, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    precision, recall = right / np.maximum(said, 1), right / np.maximum(support, 1)
    return Evaluation(
        images=len(truth),
        top1=wilson(int(right.sum()), len(truth)),
        top5=wilson(int(in_top(logits, truth, TOP).sum()), len(truth)) if classes > TOP else None,
        classes=tuple(
            ClassScore(label=labels[i], precision=float(precision[i]), recall=float(recall[i]), support=int(support[i]))
            for i in range(classes)
        ),
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        inference_ms=inference_ms,
        unreadable=unreadable,
    )


def in_top(logits: NDArray[np.float32], truth: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    """(N,): whether the right class is among the `count` likeliest; of equal logits the first class comes first."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    found: NDArray[np.bool_] = (best == truth[:, None]).any(1)
    return found


def wilson(successes: int, count: int) -> Share:
    """A share and its 95 % score interval (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    >>> share = wilson(92, 100)
    >>> f"{share.value:.2f} {share.low:.3f} {share.high:.3f}"
    '0.92 0.850 0.959'
    """
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"want 0..count successes of 1 or more, got {successes} of {count}")
    share, z2 = successes / count, _Z * _Z
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return Share(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half))


def agreement(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Share of images, 0..1, to which two models give the same likeliest class; both (N, classes)."""
    _check_pair(a, b)
    return float((a.argmax(1) == b.argmax(1)).mean())


def max_abs_difference_of_range(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Largest difference of a logit, as a share of the reference's range (its largest minus its smallest logit)."""
    _check_pair(reference, other)
    spread = float(reference.max() - reference.min())
    distance = float(np.abs(reference - other).max())
    if spread == 0.0:
        return 0.0 if distance == 0.0 else math.inf
    return distance / spread


def sqnr_db(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Signal to quantisation noise: 10 · log₁₀(Σ reference² / Σ (reference − other)²); infinite for equal arrays."""
    _check_pair(reference, other)
    signal = float(np.square(reference, dtype=np.float64).sum())
    noise = float(np.square(reference.astype(np.float64) - other).sum())
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def _check_pair(a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
    if a.shape != b.shape or a.ndim != 2 or a.size == 0:
        raise ValueError(f"want two arrays (N ≥ 1, classes) of one shape, got {a.shape} and {b.shape}")
