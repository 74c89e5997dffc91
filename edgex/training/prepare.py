"""From a start to a task: what learns, and from which batches."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgex.networks.deploy import Deployed
from edgex.networks.xception import NORMALISE
from edgex.training.accelerator import Accelerator
from edgex.training.config import TrainConfig
from edgex.training.feature_task import FeatureTask
from edgex.training.features import FeatureCache, Rows
from edgex.training.folds import Folds, augmentation, input_spec, resize_spec, worker_count
from edgex.training.image_task import ImageTask
from edgex.training.observer import Observer
from edgex.training.run_folder import RunFolder
from edgex.training.start import Start
from edgex.training.task import Task, photo_rng
from edgex.training.trunk import divide
from edgex_runtime.image import read_image
from edgex_runtime.preprocess import resize
from edgex_runtime.schema import to_plain

Image = NDArray[np.uint8]
log = logging.getLogger(__name__)


def prepare_images(config: TrainConfig, folds: Folds, start: Start) -> Task:
    """The whole network learns from augmented photos."""
    module = Deployed(start.network, NORMALISE)
    workers = worker_count(config)
    return ImageTask(module, folds.train, folds.val, augment=augmentation(config), config=config, workers=workers)


def prepare_features(
    config: TrainConfig, folds: Folds, start: Start, run: RunFolder, accelerator: Accelerator, observer: Observer
) -> Task:
    """What the weights leave uncovered learns from the trunk's outputs, computed here or found in the run folder.

    Raises:
        WeightsError: If the weights cover no block, or are damaged.
        BadInputError: If the disk has no room.
    """
    halves = divide(start.network, start.missing)
    log.info("frozen trunk: %s to %s; learning: %s", halves.blocks[0], halves.blocks[-1], _names(halves.tail))
    trunk = halves.trunk.to(accelerator.device)
    workers = worker_count(config)
    cache = FeatureCache(run.features, plan=_plan(config, folds, start, halves.blocks))
    computed = []
    for rows in (_train_rows(config, folds), _val_rows(folds)):
        observer.stage(f"features of {rows.name}", rows.count)
        features: NDArray[np.floating[Any]] = cache.compute(
            rows, trunk, accelerator, workers=workers, advance=observer.advance
        )
        computed.append(features)
    train, val = computed
    return FeatureTask(
        halves.tail, (train, folds.train.labels), (val, folds.val.labels), config=config, workers=workers
    )


def _names(tail: nn.Module) -> str:
    count = sum(parameter.numel() for parameter in tail.parameters())
    return f"{count:,} values after it"


def _plan(config: TrainConfig, folds: Folds, start: Start, blocks: tuple[str, ...]) -> dict[str, Any]:
    """Everything that decides a feature's value."""
    return {
        "weights": start.sha256,
        "network": to_plain(start.network.config),
        "blocks": list(blocks),
        "input": to_plain(input_spec(config)),
        "resize": to_plain(resize_spec(config)),
        "views": config.views,
        "augmentation": to_plain(augmentation(config, light=True)) if config.views > 1 else None,
        "seed": config.seed if config.views > 1 else None,
        "train": [sample.sha256 for sample in folds.split.train],
        "val": [sample.sha256 for sample in folds.split.val],
    }


def _train_rows(config: TrainConfig, folds: Folds) -> Rows:
    photos, light = folds.train, augmentation(config, light=True)

    def view(row: int) -> Image:
        number, index = divmod(row, len(photos.samples))
        if number == 0:
            # The first view is what the network will see at run time.
            return resize(read_image(photos.samples[index].path), input_spec(config), resize_spec(config))
        return light(photos.read(index), photo_rng(config.seed, number, index))

    return Rows(name="train", count=config.views * len(photos.samples), dtype=np.float16, photo=view)


def _val_rows(folds: Folds) -> Rows:
    return Rows(name="val", count=len(folds.val.samples), dtype=np.float32, photo=folds.val.read)
