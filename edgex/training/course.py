"""The epochs of a run: each is trained, measured and saved before the next begins.

An interrupted run goes on where its last whole epoch ended. What makes that exact: every epoch's order, augmentation
and dropout are drawn from (seed, epoch) alone, and the state holds everything that the steps before have changed.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgex.training.config import TrainConfig
from edgex.training.folds import Folds
from edgex.training.learner import Learner
from edgex.training.metrics import Scores, score
from edgex.training.observer import EpochMetrics, Observer
from edgex.training.plots import draw_confusion, draw_curves
from edgex.training.run_folder import RunFolder
from edgex.training.start import Start
from edgex.training.state import Progress, check_same_run, load_state, save_state
from edgex.training.task import Task

log = logging.getLogger(__name__)

# The curves of a long run can be looked at meanwhile; a short one should not spend its time on drawing.
_DRAW_EVERY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """All that a run's epochs need.

    Attributes:
        folds: The photos.
        start: The network that learns, whole.
        task: Its part that learns, and the batches.
        learner: What takes the steps.
        places: The folders of the train and the val fold.
        save: Writes a checkpoint of what learns as it is now, with what it scored on the val fold.
    """

    folds: Folds
    start: Start
    task: Task
    learner: Learner
    places: tuple[Path, Path]
    save: Callable[[Path, Scores], None]


class Course:
    """The epochs of one run, and what has come of them so far."""

    def __init__(self, config: TrainConfig, run: RunFolder, prepared: Prepared, observer: Observer) -> None:
        self.history: list[EpochMetrics] = []
        self.best = -1
        self._confusion: NDArray[np.int64] | None = None
        self._config = config
        self._run = run
        self._prepared = prepared
        self._observer = observer
        self._drawn_s = time.monotonic()

    def resume(self) -> None:
        """Go on from the run's saved state.

        Raises:
            BadInputError: If it is that of another run.
        """
        progress, tensors = load_state(self._run.state)
        check_same_run(progress, self._config.numbers(), weights_sha256=self._prepared.start.sha256)
        self._confusion = tensors.pop("confusion").numpy()
        self._prepared.learner.load(tensors, progress.scalars)
        self.history, self.best = list(progress.history), progress.best
        # The kill may have come between the state and what follows from it.
        self._run.publish(self.best)
        log.info("going on after epoch %d of %d", len(self.history), self._config.epochs)

    def finish(self) -> None:
        """Train what is left of the epochs, and draw."""
        self._run.write_metrics(self.history)
        assert self._config.epochs is not None, "a resolved config has epochs"
        for epoch in range(len(self.history), self._config.epochs):
            self._train_epoch(epoch)
            self._save()
            self._observer.epoch(self.history[-1])
        self._draw()

    def _train_epoch(self, epoch: int) -> None:
        config, folds, learner = self._config, self._prepared.folds, self._prepared.learner
        began_s = time.monotonic()
        self._observer.stage(f"epoch {epoch + 1} of {config.epochs}", len(folds.split.train) + len(folds.split.val))
        seed = int(np.random.SeedSequence([config.seed, epoch]).generate_state(1)[0])
        batches = self._prepared.task.train_batches(epoch)
        learnt = learner.train_epoch(batches, seed=seed, advance=self._observer.advance)
        with learner.averaged():
            scores = score(*learner.evaluate(self._prepared.task.val_batches(), advance=self._observer.advance))
            best = self._is_best(scores)
            if best:
                self._prepared.save(self._run.best(epoch), scores)
                self.best, self._confusion = epoch, scores.confusion
        line = EpochMetrics(
            epoch=epoch + 1,
            step=learner.step,
            lr=learner.lr,
            train_loss=learnt.loss,
            train_top1=learnt.top1,
            val_loss=scores.loss,
            val_top1=scores.top1,
            val_top5=scores.top5,
            best=best,
            seconds=round(time.monotonic() - began_s, 3),
        )
        self.history.append(line)
        log.info(
            "epoch %d: train loss %.4f, val loss %.4f, top-1 %.2f %%, %.1f s%s",
            *(line.epoch, line.train_loss, line.val_loss, 100 * line.val_top1, line.seconds, ", best" * line.best),
        )

    def _is_best(self, scores: Scores) -> bool:
        """More photos right, or as many at a lower loss."""
        if self.best < 0:
            return True
        best = self.history[self.best]
        return (scores.top1, -scores.loss) > (best.val_top1, -best.val_loss)

    def _save(self) -> None:
        """The order matters to a kill: the best weights are on the disk before the state that names them."""
        assert self._confusion is not None, "the first epoch is the best so far"
        progress = Progress(
            config=self._config.numbers(),
            history=tuple(self.history),
            best=self.best,
            scalars=self._prepared.learner.scalars(),
            weights_sha256=self._prepared.start.sha256,
        )
        tensors = self._prepared.learner.tensors() | {"confusion": torch.from_numpy(self._confusion)}
        save_state(self._run.state, progress, tensors)
        if self.history[-1].best:
            self._run.publish(self.best)
        self._run.write_metrics(self.history)
        if time.monotonic() - self._drawn_s > _DRAW_EVERY_S:
            self._draw()

    def _draw(self) -> None:
        assert self._confusion is not None, "a run has at least one epoch"
        best = self.history[self.best]
        title = f"{int(self._confusion.sum())} photos of val, {best.val_top1:.1%} right (epoch {best.epoch})"
        draw_curves(self._run.root / "curves.png", self.history)
        draw_confusion(
            self._run.root / "confusion.png", self._confusion, self._prepared.folds.split.labels, title=title
        )
        self._drawn_s = time.monotonic()
