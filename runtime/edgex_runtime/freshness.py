"""Whether what a live source shows is news: filler is told from frames, and a camera that hangs from one that lives."""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

STALE_PERIODS = 3
STALE_MIN_S = 0.5
# Every 8th pixel of every 8th row: on a real camera, noise alone changes this sample from frame to frame.
SAMPLE_STEP = 8


class State(str, Enum):
    """What the source is doing."""

    LIVE = "LIVE"
    """The frame is the newest there is (of a file: the next one)."""
    STALE = "STALE"
    """Nothing new for longer than `stale_after_ns`: the source is silent, or repeats itself."""
    RECONNECTING = "RECONNECTING"
    """The source was lost and is being opened again."""
    LOST = "LOST"
    """The source was lost and did not come back."""
    ENDED = "ENDED"
    """The source came to its end."""


def stale_after_ns(fps: float | None) -> int:
    """How long a source may show nothing new: three frame periods, and half a second at least.

    >>> stale_after_ns(30) == 500_000_000, stale_after_ns(2) == 1_500_000_000, stale_after_ns(None) == 500_000_000
    (True, True, True)
    """
    period_s = 1 / fps if fps else 0.0
    return round(max(STALE_PERIODS * period_s, STALE_MIN_S) * 1e9)


class FillerFilter:
    """Tells frames from what drivers deliver in their place: the last frame once more, or plain black."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None

    def is_filler(self, image: NDArray[np.uint8]) -> bool:
        """Compare a live source's picture with the one before; a picture that is not filler becomes the one before.

        Args:
            image: (H, W, 3) uint8; kept until the next call.

        Returns:
            Whether every value is zero (a sensor has noise even in the dark, a failed decoder has none), or every byte
            is that of the last picture. Both are decided exactly; the sample only makes the usual answer cheap.
        """
        sample = image[::SAMPLE_STEP, ::SAMPLE_STEP]
        if not sample.any() and not image.any():
            return True
        last = self._last
        if last is not None and last.shape == image.shape:
            same_sample = np.array_equal(last[::SAMPLE_STEP, ::SAMPLE_STEP], sample)
            if same_sample and np.array_equal(last, image):
                return True
        self._last = image
        return False
