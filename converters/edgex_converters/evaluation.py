"""The images that the gates judge by: known by their files' digests, decoded when something has to be run on them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_runtime import image, preprocess
from edgex_runtime.dataset import Dataset, fingerprint_of
from edgex_runtime.errors import DatasetError
from edgex_runtime.spec import DatasetRef, ModelSpec

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationSet:
    """Evaluation images.

    Attributes:
        photos: The files.
        spec: The checkpoint's contract: how they are resized.
        labels: (N,) index into the contract's labels.
        hashes: sha256 of each file, in the order of `photos`.
        file: Where the decoded images are kept once they are asked for: a large set need not fit into memory.
    """

    photos: Dataset
    spec: ModelSpec
    labels: NDArray[np.int64]
    hashes: tuple[str, ...]
    file: Path
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of the photos, as given."""
        return tuple(photo.path for photo in self.photos.files)

    @property
    def source(self) -> DatasetRef:
        """For the contract's provenance."""
        fingerprint = fingerprint_of(self.hashes)
        return DatasetRef(role="evaluation", path=str(self.photos.root), count=len(self), fingerprint=fingerprint)

    def inputs(self, progress: Progress) -> Path:
        """A file of (N, H, W, 3) uint8 RGB, resized by the contract, for `open_inputs`.

        Args:
            progress: Called with (done, all) if the photos have yet to be read.

        Raises:
            ImageError: If a photo cannot be read.
        """
        with self._lock:
            if not self.file.exists():
                self._prepare(progress)
        return self.file

    def _prepare(self, progress: Progress) -> None:
        unfinished = self.file.with_suffix(".unfinished")
        open_memmap: Callable[..., NDArray[np.uint8]] = np.lib.format.open_memmap  # numpy leaves it untyped.
        shape = (len(self), self.spec.input.height, self.spec.input.width, 3)
        inputs = open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
        for index, photo in enumerate(self.photos.files):
            inputs[index] = preprocess.resize(image.read_image(photo.path), self.spec.input, self.spec.resize)
            progress(index + 1, len(self))
        unfinished.rename(self.file)


def open_inputs(file: Path) -> NDArray[np.uint8]:
    """(N, H, W, 3) uint8 RGB, mapped into memory."""
    inputs: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return inputs


def identify(photos: Dataset, spec: ModelSpec, file: Path) -> EvaluationSet:
    """Match the photos with the contract and take their digests; nothing is decoded yet.

    Args:
        photos: One folder a class, whose names are the contract's labels.
        spec: The checkpoint's contract.
        file: Where the decoded images may be kept.

    Raises:
        DatasetError: If the folders are not the contract's labels.
    """
    labels = _match_labels(photos, spec)
    return EvaluationSet(photos=photos, spec=spec, labels=labels, hashes=photos.content_hashes(), file=file)


def spread_over(count: int, wanted: int) -> list[int]:
    """Which of `count` images to take, so that every part of a sorted set is among them.

    >>> spread_over(9, 3)
    [0, 4, 8]
    """
    indices: list[int] = np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int)).tolist()
    return indices


def _match_labels(photos: Dataset, spec: ModelSpec) -> NDArray[np.int64]:
    """Each photo's index in the contract's labels, matched by name: a folder's place in the alphabet proves nothing."""
    unknown = [label for label in photos.labels if label not in spec.labels]
    if unknown:
        raise DatasetError(
            f"{photos.root}: want folders named as the model's labels ({', '.join(spec.labels[:8])}…), "
            f"got {', '.join(unknown[:8])}"
        )
    place = np.array([spec.labels.index(label) for label in photos.labels])
    return np.asarray(place[[photo.label for photo in photos.files]], dtype=np.int64)
