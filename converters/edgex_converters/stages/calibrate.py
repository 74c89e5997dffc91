"""Chooses the photos whose activations decide the int8 scales, and refuses those that must not."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_converters import calibration_check, saved_tensor
from edgex_converters.calibration_check import Fault
from edgex_converters.config import QuantizeConfig
from edgex_runtime import dataset, image, preprocess
from edgex_runtime.dataset import Dataset
from edgex_runtime.errors import DatasetError, ImageError
from edgex_runtime.spec import DatasetRef, ModelSpec

# MLPerf Inference calibrates on 500 of 50,000; below 32 a single odd photo moves a range by percents.
FEWEST = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """Photos as they were read.

    Attributes:
        inputs: (N, H, W, 3) uint8 RGB, resized by the contract, exactly as the runtime will.
        faults: Of each photo as it stands in its file.
    """

    inputs: NDArray[np.uint8]
    faults: tuple[Fault | None, ...]


def list_photos(folder: Path, spec: ModelSpec) -> tuple[Dataset, tuple[str, ...]]:
    """List a folder's photos, and say what a user should know of them before any is read.

    Raises:
        DatasetError: If there are none, or they are of one class, or saved tensors stand in their place.
    """
    photos = _scan(folder)
    tensors = [path for path in photos.skipped if saved_tensor.is_tensor_file(path)]
    warnings = calibration_check.judge_tensor_files(tensors, len(photos))
    return photos, warnings + calibration_check.judge_classes(photos.labels, spec.labels)


def decode(chosen: Dataset, spec: ModelSpec) -> Decoded:
    """Read the photos, and look at each.

    Raises:
        ImageError: If one cannot be read.
        DatasetError: If one is a saved tensor.
    """
    inputs, faults = [], []
    for photo in chosen.files:
        pixels = _read(photo.path)
        faults.append(calibration_check.fault_of(pixels))
        inputs.append(preprocess.resize(pixels, spec.input, spec.resize))
    return Decoded(inputs=np.stack(inputs), faults=tuple(faults))


def choose(calibration: Dataset, evaluation: Dataset, config: QuantizeConfig) -> Dataset:
    """Take a stratified, seeded subset of the calibration photos.

    Raises:
        DatasetError: If there are too few, or if one also stands in the evaluation set, whose verdict would be worth
            nothing then.
    """
    if len(calibration.files) < FEWEST:
        raise DatasetError(
            f"calibration: want {FEWEST} photos or more, got {len(calibration.files)} in {calibration.root}: "
            "add photos as the camera will see them"
        )
    shared = dataset.overlap(calibration, evaluation)
    if shared:
        raise DatasetError(
            f"calibration: {len(shared)} of {len(calibration.files)} photos also stand in the evaluation set, "
            f"{shared[0].path} first: give --calib and --eval folders that have none in common"
        )
    count = min(config.calibration_images, len(calibration.files))
    return dataset.stratified(calibration, count, np.random.default_rng(config.seed))


def refuse_copies(chosen: Dataset, hashes: tuple[str, ...]) -> None:
    """Hold the number of different files, whose digests are `hashes`, to the least there must be.

    Raises:
        DatasetError: If they are copies of too few.
    """
    copies = Counter(hashes)
    if len(copies) < FEWEST:
        digest, count = copies.most_common(1)[0]
        raise DatasetError(
            f"calibration: want {FEWEST} different photos or more, got {len(copies)} among {len(hashes)} in "
            f"{chosen.root}, {chosen.files[hashes.index(digest)].path} {count} times: add photos"
        )


def reference(chosen: Dataset, hashes: tuple[str, ...]) -> DatasetRef:
    """What the contract says of the chosen photos, whose files' digests are `hashes`."""
    return DatasetRef(
        role="calibration", path=str(chosen.root), count=len(hashes), fingerprint=dataset.fingerprint_of(hashes)
    )


def _scan(folder: Path) -> Dataset:
    """List the photos; where there are none, say so of the saved tensors that stand in their place."""
    try:
        return dataset.scan(folder)
    except DatasetError as error:
        below = sorted(folder.rglob("*")) if folder.is_dir() else []
        tensors = [path for path in below if saved_tensor.is_tensor_file(path)]
        calibration_check.judge_tensor_files(tensors, sum(map(image.is_image_file, below)))
        raise DatasetError(f"calibration: {error}") from error


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return image.read_image(path)
    except ImageError as error:
        tensor = saved_tensor.describe(path)
        if tensor is None:
            raise
        raise DatasetError(f"calibration: {path}: want a photo, found {tensor}: {saved_tensor.ADVICE}") from error
