"""What the logits of the val fold say: loss, top-1, top-5 and who is taken for whom."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """How well a fold went.

    Attributes:
        count: Photos.
        loss: Mean cross-entropy, nats.
        top1: Share right, 0..1.
        top5: Share with the right class among the first five; None with five classes or fewer, where it says nothing.
        confusion: (classes, classes) counts; row is the truth, column the answer.
        answers: (N,) class indices, the first of each photo.
    """

    count: int
    loss: float
    top1: float
    top5: float | None
    confusion: NDArray[np.int64]
    answers: NDArray[np.int64]

    def agreement(self, other: "Scores") -> float:
        """Share of the same photos that another network answers alike, 0..1."""
        return float((self.answers == other.answers).mean())


def score(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Scores:
    """Judge logits by the truth.

    Args:
        logits: (N, classes), N ≥ 1.
        labels: (N,) class indices.
    """
    count, classes = logits.shape
    # float64: the loss is compared between runs, and a float32 sum would depend on its order.
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(wide).sum(axis=1))
    answers = logits.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    top5 = None
    if classes > 5:
        # A rank by what is strictly larger: ties, as of a network that says the same to all, count for the photo.
        rank = (logits > logits[np.arange(count), labels][:, None]).sum(axis=1)
        top5 = float((rank < 5).mean())
    return Scores(
        count=count,
        loss=float((log_sum - wide[np.arange(count), labels]).mean()),
        top1=float((answers == labels).mean()),
        top5=top5,
        confusion=confusion,
        answers=answers,
    )
