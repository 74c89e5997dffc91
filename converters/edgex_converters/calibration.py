"""The photos that calibrate: chosen and known by their digests, decoded only when a stage has to be calibrated."""

import threading
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgex_converters.config import ConvertConfig
from edgex_converters.stages import calibrate
from edgex_runtime import dataset
from edgex_runtime.dataset import Dataset
from edgex_runtime.spec import DatasetRef, ModelSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationSet:
    """Calibration images.

    Attributes:
        photos: The chosen files.
        spec: The checkpoint's contract: how they are resized.
        hashes: sha256 of each file, in the order of `photos`, which is the order in which the tools see them.
    """

    photos: Dataset
    spec: ModelSpec
    hashes: tuple[str, ...]
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @cached_property
    def reference(self) -> DatasetRef:
        """For the contract's provenance."""
        return calibrate.reference(self.photos)

    @cached_property
    def _decoded(self) -> NDArray[np.uint8]:
        return calibrate.load(self.photos, self.spec)

    def images(self) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8 RGB, resized by the contract; read once."""
        with self._lock:
            return self._decoded


def choose(config: ConvertConfig, evaluation: Dataset, spec: ModelSpec) -> CalibrationSet | None:
    """The photos that `config` wants; None where nothing is quantised.

    Raises:
        DatasetError: If there are too few, or one also judges.
    """
    if "int8" not in config.precisions:
        return None
    assert config.calibration is not None  # ConvertConfig has checked it.
    photos = calibrate.choose(dataset.scan(config.calibration), evaluation, config.quantize)
    return CalibrationSet(photos=photos, spec=spec, hashes=photos.content_hashes())
