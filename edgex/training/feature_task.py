"""What follows a frozen trunk learns from the trunk's cached outputs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgex.training.config import TrainConfig
from edgex.training.prefetch import prefetch
from edgex.training.task import Batch, epoch_order, in_order

Features = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


class FeatureTask:
    """Features of several views of each photo; every epoch shows one of them."""

    def __init__(
        self,
        module: nn.Module,
        train: tuple[Features, Labels],
        val: tuple[Features, Labels],
        *,
        config: TrainConfig,
        workers: int,
    ) -> None:
        """Rows of `train`'s features are (view, photo), the first view's first; labels are the photos'."""
        self.module = module
        self._train = train
        self._val = val
        self._config = config
        self._workers = min(1, workers)  # Rows are copied, not computed: one thread is ahead of any device.

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """(N, h, w, C) float16 and labels."""
        features, labels = self._train

        def load(photos: NDArray[np.int64]) -> Batch:
            # By turns, so that every photo is seen in all its views equally often.
            views = (photos + epoch) % self._config.views
            return np.asarray(features[views * len(labels) + photos]), labels[photos]

        order = epoch_order(len(labels), self._config.batch_size, seed=self._config.seed, epoch=epoch)
        return prefetch(load, order, workers=self._workers)

    def val_batches(self) -> Iterator[Batch]:
        """(N, h, w, C) float32 and labels."""
        features, labels = self._val

        def load(photos: NDArray[np.int64]) -> Batch:
            return features[photos[0] : photos[-1] + 1].copy(), labels[photos]

        return prefetch(load, in_order(len(labels), self._config.batch_size), workers=self._workers)
