"""The motion gate: a scene that stands still need not be classified again, which saves a board's power."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GRID = (32, 24)
"""Width and height of the thumbnail that is compared: a cell averages some hundred pixels, and their noise."""
SAMPLES = (384, 288)
"""So many columns and rows of a larger picture are looked at: 144 pixels a cell are enough against noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionOptions:
    """What counts as motion.

    Attributes:
        level: By how much a cell (1/32 of the picture's width, 1/24 of its height) must change, in levels of 0..255.
        refresh_s: A still scene is classified again after so many seconds all the same.
    """

    level: float = 6.0
    refresh_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.level < 256:
            raise ValueError(f"level: want grey levels, above 0 and below 256, got {self.level}")
        if not self.refresh_s > 0:
            raise ValueError(f"refresh_s: want more than 0 seconds, got {self.refresh_s}")


class MotionGate:
    """Compares each picture with the last one that was classified, not with the one before: slow changes add up."""

    def __init__(self, options: MotionOptions) -> None:
        """Begin with no picture: the first is always news."""
        self._options = options
        self._seen: NDArray[np.int16] | None = None
        self._shape: tuple[int, ...] = ()
        self._seen_ns = 0

    def is_still(self, image: NDArray[np.uint8], now_ns: int) -> bool:
        """Whether the answer of the last classified picture holds for this one; if not, this one becomes it.

        Args:
            image: (H, W, 3) uint8 RGB of any size; another size than before is news.
            now_ns: When it was taken.
        """
        cells = _thumbnail(image)
        fresh = now_ns - self._seen_ns < self._options.refresh_s * 1e9
        if self._seen is not None and fresh and image.shape == self._shape:
            change = np.abs(cells - self._seen).max()
            if change < self._options.level:
                return True
        self._seen, self._shape, self._seen_ns = cells, image.shape, now_ns
        return False


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The cells' averages. Sampled first: an average over all of a 720p picture takes longer than a small network."""
    height, width = image.shape[:2]
    if width > SAMPLES[0] and height > SAMPLES[1]:
        image = cv2.resize(image, SAMPLES, interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
    return cv2.resize(image, GRID, interpolation=cv2.INTER_AREA).astype(np.int16)
