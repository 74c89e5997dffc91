"""The photos that calibrate: chosen and known by their digests, decoded only when a stage has to be calibrated."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_converters import calibration_check
from edgex_converters.config import QuantizeConfig
from edgex_converters.stages import calibrate
from edgex_runtime.dataset import Dataset
from edgex_runtime.spec import DatasetRef, ModelSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationSet:
    """Calibration images.

    Attributes:
        photos: The chosen files.
        spec: The checkpoint's contract: how they are resized.
        hashes: sha256 of each file, in the order of `photos`, which is the order in which the tools see them.
        reference: For the contract's provenance.
        warnings: What a user should know of them before any is read, a line each.
    """

    photos: Dataset
    spec: ModelSpec
    hashes: tuple[str, ...]
    reference: DatasetRef
    warnings: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of the photos, as given."""
        return tuple(photo.path for photo in self.photos.files)

    @property
    def classes(self) -> Mapping[str, int]:
        """How many photos of each class calibrate, by its folder's name."""
        return dict(zip(self.photos.labels, self.photos.counts(), strict=True))

    @cached_property
    def _decoded(self) -> calibrate.Decoded:
        return calibrate.decode(self.photos, self.spec)

    def images(self) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8 RGB, resized by the contract; read once."""
        with self._lock:
            return self._decoded.inputs

    def judge(self) -> tuple[str, ...]:
        """All that a user should know of the photos by themselves.

        Raises:
            DatasetError: If they cannot stand for what a camera sees.
            ImageError: If one cannot be read.
        """
        with self._lock:
            warnings = self.warnings + calibration_check.judge(self._decoded.faults, self.paths)
        calibrate.refuse_copies(self.photos, self.hashes)
        return warnings

    def compare(self, inputs: NDArray[np.uint8], paths: tuple[Path, ...]) -> tuple[str, ...]:
        """What a user should know of the photos beside those that judge.

        Args:
            inputs: (M, H, W, 3) uint8 RGB of the evaluation photos, resized by the contract.
            paths: Their files.

        Raises:
            DatasetError: If one has the very pixels of an evaluation photo.
        """
        return calibration_check.compare(self.images(), self.paths, inputs, paths)


def choose(folder: Path, evaluation: Dataset, spec: ModelSpec, config: QuantizeConfig) -> CalibrationSet:
    """Choose photos of a folder; none is decoded yet.

    Raises:
        DatasetError: If they are missing, too few, of one class, or stand in the evaluation set too.
    """
    photos, warnings = calibrate.list_photos(folder, spec)
    chosen = calibrate.choose(photos, evaluation, config)
    hashes = chosen.content_hashes()
    reference = calibrate.reference(chosen, hashes)
    return CalibrationSet(photos=chosen, spec=spec, hashes=hashes, reference=reference, warnings=warnings)
