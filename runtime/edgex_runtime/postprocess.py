"""From logits to labels and scores."""

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.errors import ContractMismatchError
from edgex_runtime.predictions import Score
from edgex_runtime.spec import ModelSpec

TOP = 5
# Up to so many classes Python's own sort is faster than numpy's, which takes 5 µs before it begins.
_FEW_CLASSES = 40


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of logits, along the last axis.

    Args:
        logits: (…, classes), finite, of any size: the largest is subtracted first, so that nothing overflows.
        temperature: Divides the logits (Guo et al. 2017, arXiv:1706.04599).

    >>> softmax(np.array([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    # Called for every frame: in place, and by the ufuncs that the methods of arrays call through two layers of Python.
    scaled = logits.astype(np.float64)
    if temperature != 1.0:
        scaled /= temperature
    scaled -= np.maximum.reduce(scaled, axis=-1, keepdims=True)
    probabilities: NDArray[np.float64] = np.exp(scaled, out=scaled)
    probabilities /= np.add.reduce(probabilities, axis=-1, keepdims=True)
    return probabilities


def to_probabilities(logits: NDArray[np.float32], spec: ModelSpec) -> NDArray[np.float64]:
    """Probabilities of a model's output, by what its contract says the output is.

    Args:
        logits: (N, classes) as the engine gave them.
        spec: Of the model.

    Returns:
        (N, classes), 0..1.

    Raises:
        ContractMismatchError: If a value is not a number, or the number of classes is not that of the labels.
    """
    if logits.shape[-1] != len(spec.labels):
        raise ContractMismatchError(
            f"{spec.name}: want an output for each of {len(spec.labels)} labels, got {logits.shape[-1]}", field="labels"
        )
    if not np.logical_and.reduce(np.isfinite(logits), axis=None):
        raise ContractMismatchError(
            f"{spec.name}: its output holds NaN or infinity: the file or the conversion is broken (half precision that "
            "overflows does this); convert it again at fp32",
            field="output",
        )
    return logits.astype(np.float64) if spec.output == "probabilities" else softmax(logits, spec.temperature)


def top_scores(probabilities: NDArray[np.float64], labels: tuple[str, ...], count: int = TOP) -> tuple[Score, ...]:
    """The likeliest classes of one image, best first; of equal ones the first in the label list.

    Args:
        probabilities: (classes,).
        labels: In the same order.
        count: How many; fewer where there are fewer classes.
    """
    if len(probabilities) <= _FEW_CLASSES:
        scores: list[float] = probabilities.tolist()
        # Reversed, Python's sort leaves equal ones in their order, too.
        best = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:count]
        return tuple([Score(label=labels[i], score=scores[i]) for i in best])
    order = np.argsort(-probabilities, kind="stable")[:count]
    return tuple([Score(label=labels[i], score=float(probabilities[i])) for i in order.tolist()])
