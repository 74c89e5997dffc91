"""A fold's photos as small uint8 arrays: each decoded once before training, and kept in memory where it fits."""

import logging
import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex.training.prefetch import prefetch
from edgex.training.split import LeftOut, Sample
from edgex_runtime.errors import ImageError
from edgex_runtime.image import read_image

Image = NDArray[np.uint8]
log = logging.getLogger(__name__)

# A random crop of a photo kept at this share above the input's size is still sharp enough for the input.
HEADROOM = 1.15


class Photos:
    """The readable photos of one fold, in order.

    Photos are prepared alike whether they come from memory or from the disk again, so `budget_bytes` changes the
    speed and never a pixel.
    """

    def __init__(
        self, samples: Sequence[Sample], prepare: Callable[[Image], Image], *, budget_bytes: int, workers: int
    ) -> None:
        self.samples = tuple(samples)
        self.unreadable: tuple[LeftOut, ...] = ()
        self._prepare = prepare
        self._budget_bytes = budget_bytes
        self._workers = workers
        self._kept: dict[str, Image] = {}

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) class indices."""
        return np.array([sample.label for sample in self.samples], np.int64)

    @property
    def held_bytes(self) -> int:
        """Memory that the kept photos take."""
        return sum(image.nbytes for image in self._kept.values())

    def verify(self, advance: Callable[[int], None]) -> None:
        """Decode every photo once; those that cannot be read are named in the log and leave the fold.

        Args:
            advance: Told how many more photos are done.
        """
        readable, unreadable, room = [], [], self._budget_bytes
        for sample, image in zip(self.samples, prefetch(self._try, self.samples, workers=self._workers), strict=True):
            if isinstance(image, ImageError):
                log.warning("unreadable, left out: %s: %s", sample.path, image)
                unreadable.append(LeftOut(path=sample.path, why=str(image)))
            else:
                readable.append(sample)
                if image.nbytes <= room and sample.sha256 not in self._kept:
                    self._kept[sample.sha256] = image
                    room -= image.nbytes
            advance(1)
        self.samples, self.unreadable = tuple(readable), tuple(unreadable)

    def read(self, index: int) -> Image:
        """One prepared photo, (H, W, 3) RGB, C-contiguous; not to be written to."""
        sample = self.samples[index]
        kept = self._kept.get(sample.sha256)
        return self._prepare(read_image(sample.path)) if kept is None else kept

    def _try(self, sample: Sample) -> Image | ImageError:
        try:
            return self._prepare(read_image(sample.path))
        except ImageError as error:
            return error


def shrink_for_crops(image: Image, *, size: int) -> Image:
    """Bring the shorter side down to what random crops for an input of `size` need; smaller photos stay as they are."""
    height, width = image.shape[:2]
    shorter = math.ceil(size * HEADROOM)
    if min(height, width) <= shorter:
        return image
    factor = shorter / min(height, width)
    return cv2.resize(image, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA).astype(
        np.uint8, copy=False
    )
