"""What a training run tells while it runs: the seam between the loop and whoever shows it."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics:
    """One line of metrics.jsonl.

    Attributes:
        epoch: Counted from 1.
        step: Steps taken so far.
        lr: Of the epoch's last step.
        train_loss: Mean over the epoch, augmented photos, smoothed labels.
        train_top1: Share of those photos that were right when they were learnt from, 0..1.
        val_loss: Cross-entropy on the val fold, plain labels, with the averaged weights.
        val_top1: Share right on the val fold, 0..1.
        val_top5: Share with the right class among the first five; None with five classes or fewer.
        best: Whether no earlier epoch was better.
        seconds: The epoch took; differs from run to run.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    val_top5: float | None
    best: bool
    seconds: float


class Observer(Protocol):
    """Sees a run go by; called from the thread that trains."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` units begins, and the one before it is over."""
        ...

    def advance(self, count: int) -> None:
        """`count` more units of the stage are done."""
        ...

    def epoch(self, metrics: EpochMetrics) -> None:
        """An epoch was trained, measured and saved."""
        ...


class Silent:
    """An observer that looks away."""

    def stage(self, name: str, total: int) -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """Nothing."""
