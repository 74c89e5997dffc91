"""The whole network learns from augmented photos."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgex.training.augment import Augmentation
from edgex.training.config import TrainConfig
from edgex.training.photos import Photos
from edgex.training.prefetch import prefetch
from edgex.training.task import Batch, epoch_order, in_order, photo_rng


class ImageTask:
    """Photos, augmented for learning and as at run time for measuring."""

    def __init__(
        self, module: nn.Module, train: Photos, val: Photos, *, augment: Augmentation, config: TrainConfig, workers: int
    ) -> None:
        self.module = module
        self._train = train
        self._val = val
        self._augment = augment
        self._config = config
        self._workers = workers

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """(N, S, S, 3) uint8 and labels."""
        seed = self._config.seed

        def load(indices: NDArray[np.int64]) -> Batch:
            views = [self._augment(self._train.read(i), photo_rng(seed, epoch, i)) for i in indices.tolist()]
            return np.stack(views), self._train.labels[indices]

        order = epoch_order(len(self._train.samples), self._config.batch_size, seed=seed, epoch=epoch)
        return prefetch(load, order, workers=self._workers)

    def val_batches(self) -> Iterator[Batch]:
        """(N, S, S, 3) uint8 and labels."""

        def load(indices: NDArray[np.int64]) -> Batch:
            return np.stack([self._val.read(i) for i in indices.tolist()]), self._val.labels[indices]

        return prefetch(load, in_order(len(self._val.samples), self._config.batch_size), workers=self._workers)
