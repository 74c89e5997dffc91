"""The two pictures of a run: how it learnt, and whom it takes for whom."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from edgex.training.observer import EpochMetrics
from edgex_runtime.atomic import atomic_write

# Okabe and Ito's blue and vermilion: told apart by every kind of colour vision.
_TRAIN, _VAL, _FADED = "#0072B2", "#D55E00", "#7f7f7f"
# More classes than this leave no room for a figure in every cell.
_MOST_CELLS = 30
_MOST_NAMES = 60


def draw_curves(path: Path, history: Sequence[EpochMetrics]) -> None:
    """Loss, accuracy and learning rate over the epochs, as a PNG."""
    epochs = [line.epoch for line in history]
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    loss, top1, lr = figure.subplots(1, 3)
    marker = "o" if len(epochs) <= 30 else ""
    loss.plot(
        epochs, [line.train_loss for line in history], _TRAIN, marker=marker, ms=3, label="train (smoothed labels)"
    )
    loss.plot(epochs, [line.val_loss for line in history], _VAL, marker=marker, ms=3, label="val")
    loss.set(title="loss", ylabel="nats", ylim=(0, None))
    top1.plot(
        epochs, [100 * line.train_top1 for line in history], _TRAIN, marker=marker, ms=3, label="train (augmented)"
    )
    top1.plot(epochs, [100 * line.val_top1 for line in history], _VAL, marker=marker, ms=3, label="val")
    best = [line for line in history if line.best][-1]
    top1.axvline(best.epoch, color=_FADED, lw=0.8, ls=":")
    top1.set(title=f"top-1: best {best.val_top1:.1%} after epoch {best.epoch}", ylabel="%", ylim=(None, 101))
    lr.plot(epochs, [line.lr for line in history], _FADED, marker=marker, ms=3)
    lr.set(title="learning rate at the epoch's end", ylim=(0, None))
    for axes in (loss, top1, lr):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False)
    top1.legend(frameon=False, loc="lower right")
    _save(figure, path)


def draw_confusion(path: Path, confusion: NDArray[np.int64], labels: Sequence[str], *, title: str) -> None:
    """Who is taken for whom, as a PNG; shaded by the share of the true class.

    Args:
        path: Where to.
        confusion: (classes, classes) counts; row is the truth, column the answer.
        labels: Class names.
        title: What was measured.
    """
    classes = len(labels)
    share = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    side = min(24.0, 3.2 + 0.55 * classes)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.subplots()
    shades = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if classes <= _MOST_CELLS:
        for row, column in np.ndindex(classes, classes):
            if count := int(confusion[row, column]):
                color = "white" if share[row, column] > 0.55 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)
    if classes <= _MOST_NAMES:
        axes.set_xticks(range(classes), labels, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(classes), labels)
    axes.set(xlabel="answer", ylabel="truth", title=title)
    figure.colorbar(shades, ax=axes, shrink=0.8, label="share of the true class")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    # Without pyplot, which would choose a display's backend and keep every figure alive.
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
