"""A training run from a folder of photos to a checkpoint with its contract: `train`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgex.networks.checkpoint import save_checkpoint
from edgex.training import qat
from edgex.training.accelerator import Accelerator, choose_accelerator
from edgex.training.config import TrainConfig
from edgex.training.contract import contract
from edgex.training.course import Course, Prepared
from edgex.training.float_checkpoint import FloatCheckpoint, adopt, open_checkpoint
from edgex.training.folds import Folds, gather
from edgex.training.golden import seal
from edgex.training.learner import Learner
from edgex.training.loss import Loss
from edgex.training.metrics import Scores
from edgex.training.observer import EpochMetrics, Observer, Silent
from edgex.training.prepare import prepare_features, prepare_images
from edgex.training.run_folder import RunFolder
from edgex.training.schedule import Schedule
from edgex.training.split import LeftOut
from edgex.training.start import Start, begin
from edgex.training.task import Task
from edgex_runtime.spec import ModelSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a run came to.

    Attributes:
        checkpoint: The best epoch's network, with its contract.
        spec: That contract; its first evidence is what was measured on the val fold.
        run: The run folder.
        history: A line for every epoch.
        best: The line of the epoch that was saved.
        left_out: Photos that were neither trained nor measured on: unreadable, or in both folds.
        train_folder: Photos that were trained on, a folder per class.
        val_folder: Photos that were measured on, a folder per class.
    """

    checkpoint: Path
    spec: ModelSpec
    run: Path
    history: tuple[EpochMetrics, ...]
    best: EpochMetrics
    left_out: tuple[LeftOut, ...]
    train_folder: Path
    val_folder: Path


def train(config: TrainConfig, observer: Observer | None = None) -> TrainResult:
    """Train a network on a folder of photos.

    Args:
        config: What to do; what it leaves open is decided by `TrainConfig.resolved`.
        observer: Told of stages, progress and epochs, from this thread.

    Raises:
        DatasetError: If the photos cannot be trained on; before anything is trained.
        WeightsError: If the weights that were given do not fit.
        BadInputError: If the run folder is taken, a resumed run was another one, or `qat` cannot be trained.
        DeviceUnavailableError: If a GPU was asked for and there is none.
        DivergedError: If the loss of a step is not finite.
    """
    checkpoint = None if config.qat is None else open_checkpoint(config.qat, config)
    config = (config if checkpoint is None else adopt(config, checkpoint)).resolved()
    observer = observer or Silent()
    assert config.out is not None, "a resolved config has a run folder"
    assert config.name is not None, "a resolved config has a name"
    accelerator = choose_accelerator(config)
    run = RunFolder(root=config.out, name=config.name)
    saved = run.open(resume=config.resume, overwrite=config.overwrite)
    with run.logging_to_file():
        prepared = _prepare(config, run, accelerator, observer, checkpoint)
        course = Course(config, run, prepared, observer)
        if saved:
            course.resume()
        course.finish()
        observer.stage("golden samples", 1)
        spec = seal(run.checkpoint)
        observer.advance(1)
        log.info("%s: top-1 %.2f %%", run.checkpoint, 100 * course.history[course.best].val_top1)
    train_folder, val_folder = prepared.places
    return TrainResult(
        checkpoint=run.checkpoint,
        spec=spec,
        run=run.root,
        history=tuple(course.history),
        best=course.history[course.best],
        left_out=prepared.folds.split.left_out,
        train_folder=train_folder,
        val_folder=val_folder,
    )


def _prepare(
    config: TrainConfig,
    run: RunFolder,
    accelerator: Accelerator,
    observer: Observer,
    checkpoint: FloatCheckpoint | None,
) -> Prepared:
    """Everything before the first step, the cheapest checks first."""
    folds = gather(config, run, observer)
    places = run.fold_places(folds.split)
    start: Start
    task: Task
    loss: Loss | None = None
    if checkpoint is not None:
        start, task, save, loss = qat.prepare(config, checkpoint, folds, places, accelerator, observer)
    else:
        start = begin(config, classes=len(folds.split.labels))
        save = _float_saver(config, folds, start, places)
        task = (
            prepare_features(config, folds, start, run, accelerator, observer)
            if config.freeze_trunk
            else prepare_images(config, folds, start)
        )
    steps = max(1, len(folds.split.train) // config.batch_size)
    assert config.lr is not None, "a resolved config has a learning rate"
    assert config.epochs is not None, "a resolved config has epochs"
    schedule = Schedule(peak=config.lr, steps=config.epochs * steps, warmup_steps=round(config.warmup_epochs * steps))
    log.info("%d epochs of %d steps on %s, learning rate %g", config.epochs, steps, accelerator.device, config.lr)
    return Prepared(
        folds=folds,
        start=start,
        task=task,
        learner=Learner(task.module, config, accelerator, schedule, loss),
        places=places,
        save=save,
    )


def _float_saver(
    config: TrainConfig, folds: Folds, start: Start, places: tuple[Path, Path]
) -> Callable[[Path, Scores], None]:
    def save(path: Path, scores: Scores) -> None:
        save_checkpoint(path, start.network, contract(config, folds.split, scores, places=places))

    return save
