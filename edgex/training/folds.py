"""From a folder to two folds of readable photos: divided, decoded once, checked, written down."""

import logging
import os
from dataclasses import dataclass, replace
from functools import partial

from edgex.training.augment import Augmentation
from edgex.training.config import TrainConfig
from edgex.training.observer import Observer
from edgex.training.photos import Photos, shrink_for_crops
from edgex.training.run_folder import RunFolder
from edgex.training.split import Split, check_classes, check_unchanged, make_split
from edgex_runtime.preprocess import resize
from edgex_runtime.spec import InputSpec, Resize

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Folds:
    """The photos of a run, ready to read.

    Attributes:
        split: Which they are.
        train: Kept a little above the input's size, for random crops.
        val: As the runtime would hand them to the network.
    """

    split: Split
    train: Photos
    val: Photos


def gather(config: TrainConfig, run: RunFolder, observer: Observer) -> Folds:
    """Find, divide and decode the photos, and write split.json.

    With a frozen trunk no photo is kept: each is needed once more, when its features are computed.

    Raises:
        DatasetError: If the photos cannot be trained on; before anything is trained.
        BadInputError: If a resumed run had other photos.
    """
    observer.stage("find photos", 1)
    split = make_split(config.data, val_share=config.val_share, seed=config.seed)
    check_classes(split)
    observer.advance(1)
    workers, budget = worker_count(config), config.cache_mb * 2**20
    shrink = partial(shrink_for_crops, size=config.image_size)
    as_at_run_time = partial(resize, input=input_spec(config), resize=resize_spec(config))
    if config.freeze_trunk:
        budget = 0
    val = Photos(split.val, as_at_run_time, budget_bytes=budget, workers=workers)
    observer.stage("read photos", len(split.train) + len(split.val))
    val.verify(observer.advance)
    train = Photos(split.train, shrink, budget_bytes=budget - val.held_bytes, workers=workers)
    train.verify(observer.advance)
    unreadable = (*train.unreadable, *val.unreadable)
    split = replace(split, train=train.samples, val=val.samples, left_out=(*split.left_out, *unreadable))
    for item in split.left_out[: len(split.left_out) - len(unreadable)]:
        log.info("left out of train: %s: %s", item.path, item.why)
    check_classes(split)
    log.info(
        "%d photos to train on, %d to measure on, %d classes; %d unreadable, %d doubles left out",
        *(len(split.train), len(split.val), len(split.labels), len(unreadable), len(split.left_out) - len(unreadable)),
    )
    if run.split.exists():
        check_unchanged(split, run.split)
    else:
        run.write_split(split)
    return Folds(split=split, train=train, val=val)


def worker_count(config: TrainConfig) -> int:
    """Threads that prepare photos: as many as were asked for, or one a CPU that this process may use, at most 8."""
    if config.workers is not None:
        return config.workers
    return min(8, len(os.sched_getaffinity(0)))


def input_spec(config: TrainConfig) -> InputSpec:
    """The tensor that the deployed network takes."""
    return InputSpec(height=config.image_size, width=config.image_size)


def resize_spec(config: TrainConfig) -> Resize:
    """How a photo becomes that tensor, here and wherever the network runs."""
    assert config.resize is not None, "a resolved config has a way to resize"
    return Resize(mode=config.resize, crop_fraction=config.crop_fraction)


def augmentation(config: TrainConfig, *, light: bool = False) -> Augmentation:
    """What a training photo goes through; `light` for views that are computed once and seen many times."""
    share = 0.5 if light else 1.0
    return Augmentation(
        size=config.image_size,
        keep_aspect=config.resize != "stretch",
        flip=config.flip,
        min_scale=1 - share * (1 - config.min_scale),
        rotate_deg=share * config.rotate_deg,
        color=share * config.color,
        degrade=share * config.degrade,
        erase=config.erase,
    )
