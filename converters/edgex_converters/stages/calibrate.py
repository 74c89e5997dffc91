"""Chooses the photos whose activations decide the int8 scales, and refuses those that must not."""

import numpy as np
from numpy.typing import NDArray

from edgex_converters.config import QuantizeConfig
from edgex_runtime import dataset, image, preprocess
from edgex_runtime.dataset import Dataset
from edgex_runtime.errors import DatasetError
from edgex_runtime.spec import DatasetRef, ModelSpec

# MLPerf Inference calibrates on 500 of 50,000; below 32 a single odd photo moves a range by percents.
FEWEST = 32


def choose(calibration: Dataset, evaluation: Dataset, config: QuantizeConfig) -> Dataset:
    """Take a stratified, seeded subset of the calibration photos.

    Raises:
        DatasetError: If there are too few, or if one also stands in the evaluation set, whose verdict would be worth
            nothing then.
    """
    if len(calibration.files) < FEWEST:
        raise DatasetError(
            f"calibration: want {FEWEST} photos or more, got {len(calibration.files)} in {calibration.root}"
        )
    shared = dataset.overlap(calibration, evaluation)
    if shared:
        raise DatasetError(
            f"calibration: {len(shared)} of {len(calibration.files)} photos also stand in the evaluation set, "
            f"{shared[0].path} first: give --calib and --eval folders that have none in common"
        )
    count = min(config.calibration_images, len(calibration.files))
    return dataset.stratified(calibration, count, np.random.default_rng(config.seed))


def load(chosen: Dataset, spec: ModelSpec) -> NDArray[np.uint8]:
    """Read and resize by the contract, exactly as the runtime will.

    Returns:
        (N, H, W, 3) uint8 RGB.
    """
    return np.stack(
        [preprocess.resize(image.read_image(photo.path), spec.input, spec.resize) for photo in chosen.files]
    )


def reference(chosen: Dataset) -> DatasetRef:
    """What the contract says of the calibration set."""
    return DatasetRef(
        role="calibration", path=str(chosen.root), count=len(chosen.files), fingerprint=chosen.fingerprint()
    )
