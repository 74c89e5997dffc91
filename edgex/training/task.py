"""What a learner learns from: the seam between the photos (or their cached features) and the loop."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

Batch = tuple[NDArray[np.generic], NDArray[np.int64]]


class Task(Protocol):
    """A module to train, and its batches."""

    @property
    def module(self) -> nn.Module:
        """What learns: takes a batch's inputs, gives logits."""
        ...

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch, counted from 0; the same epoch always gives the same bytes."""
        ...

    def val_batches(self) -> Iterator[Batch]:
        """The val fold, in order."""
        ...


def epoch_order(count: int, batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Shuffled indices in batches of one size: what is left over would upset batch-norm, and waits for another epoch.

    A fold smaller than a batch is one batch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    batches = max(1, count // batch_size)
    return [order[start : start + batch_size] for start in range(0, batches * batch_size, batch_size)]


def in_order(count: int, batch_size: int) -> list[NDArray[np.int64]]:
    """All indices in batches, the last one smaller."""
    return [np.arange(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]


def photo_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one photo in one epoch, whoever works on it, in whatever order."""
    return np.random.default_rng([seed, epoch, index])
