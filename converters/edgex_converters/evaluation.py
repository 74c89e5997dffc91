"""The images that the gates judge by: prepared once, by the contract, with the PyTorch reference's answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgex_runtime import image, preprocess
from edgex_runtime.dataset import Dataset
from edgex_runtime.errors import DatasetError
from edgex_runtime.spec import DatasetRef, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationSet:
    """Evaluation images and what the reference says of them.

    Attributes:
        inputs: (N, H, W, 3) uint8 RGB, resized by the contract; on disk, mapped into memory.
        labels: (N,) index into the contract's labels.
        reference: (N, classes) float32 logits of the PyTorch network.
        source: For the contract's provenance.
        paths: Of the photos, as given.
    """

    inputs: NDArray[np.uint8]
    labels: NDArray[np.int64]
    reference: NDArray[np.float32]
    source: DatasetRef
    paths: "tuple[Path, ...]"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def reference_accuracy(self) -> float:
        """Top-1 of the reference, 0..1."""
        return float((self.reference.argmax(1) == self.labels).mean())


def prepare(
    photos: Dataset, spec: ModelSpec, network: "nn.Module", cache: "Path", progress: Callable[[int, int], None]
) -> EvaluationSet:
    """Read and resize every photo and run the reference network on it.

    Args:
        photos: One folder a class, whose names are the contract's labels.
        spec: The checkpoint's contract.
        network: (N, H, W, 3) uint8 → logits.
        cache: A file to keep the prepared images in: a large set need not fit into memory.
        progress: Called with (done, all).

    Raises:
        DatasetError: If the folders are not the contract's labels.
        ImageError: If a photo cannot be read.
    """
    labels = _match_labels(photos, spec)
    shape = (len(photos.files), spec.input.height, spec.input.width, 3)
    open_memmap: Callable[..., NDArray[np.uint8]] = np.lib.format.open_memmap  # numpy leaves it untyped.
    inputs = open_memmap(cache, mode="w+", dtype=np.uint8, shape=shape)
    logits = []
    for start in range(0, len(photos.files), _BATCH):
        for index, photo in enumerate(photos.files[start : start + _BATCH], start):
            inputs[index] = preprocess.resize(image.read_image(photo.path), spec.input, spec.resize)
        logits.append(run_reference(network, inputs[start : start + _BATCH]))
        progress(min(start + _BATCH, len(labels)), len(labels))
    source = DatasetRef(
        role="evaluation", path=str(photos.root), count=len(photos.files), fingerprint=photos.fingerprint()
    )
    return EvaluationSet(
        inputs=inputs,
        labels=labels,
        reference=np.concatenate(logits),
        source=source,
        paths=tuple(photo.path for photo in photos.files),
    )


def run_reference(network: "nn.Module", inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The PyTorch network's logits for a batch, (N, classes) float32."""
    import torch

    with torch.inference_mode():
        logits: NDArray[np.float32] = network(torch.from_numpy(np.array(inputs))).numpy()
    return logits


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
