"""Whether what a live source shows is news: filler is told from frames, and a camera that hangs from one that lives."""

from collections import deque
from enum import Enum

import numpy as np
from numpy.typing import NDArray

STALE_PERIODS = 3
STALE_MIN_S = 0.5
STALE_MAX_S = 3600.0
"""Even of a source that says it gives one frame a day."""
UNKNOWN_PERIOD_S = 1.0
"""Assumed of a source that does not say its rate, until its frames have."""
RHYTHM_INTERVALS = 15
RHYTHM_ENOUGH = 3
# Every 32nd pixel of every 32nd row, 920 of a 720p picture's: on a real camera, noise alone changes this sample from
# frame to frame. Every 8th took 5 ms of a 4K picture, for each byte of it is far from the next.
SAMPLE_STEP = 32


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


def stale_after_ns(period_s: float) -> int:
    """How long a source with a frame each `period_s` may show nothing new: three periods, and half a second at least.

    >>> stale_after_ns(1 / 30) == 500_000_000, stale_after_ns(0.5) == 1_500_000_000
    (True, True)
    """
    return round(min(max(STALE_PERIODS * period_s, STALE_MIN_S), STALE_MAX_S) * 1e9)


class Rhythm:
    """How far apart a source's frames are: as they came, or, before enough have come, as the source says.

    A camera that announces 30 frames a second gives 7 in the dark; many network streams announce nothing, or 25.
    """

    def __init__(self, fps: float | None) -> None:
        """Begin with the nominal rate; None where there is none."""
        # `1 / fps` of the smallest floats is infinite, which no integer holds; the limit's own maximum is far below.
        self._period_ns = round(1e9 / max(fps, 1e-9) if fps else UNKNOWN_PERIOD_S * 1e9)
        self._intervals_ns: deque[int] = deque(maxlen=RHYTHM_INTERVALS)
        self._last_ns: int | None = None

    def beat(self, now_ns: int) -> None:
        """A new frame came at `now_ns`."""
        if self._last_ns is not None:
            self._intervals_ns.append(now_ns - self._last_ns)
        self._last_ns = now_ns
        if len(self._intervals_ns) >= RHYTHM_ENOUGH:
            # The median: one freeze changes nothing.
            self._period_ns = sorted(self._intervals_ns)[len(self._intervals_ns) // 2]

    @property
    def period_ns(self) -> int:
        """From one frame to the next; may be asked by another thread than the one that beats."""
        return self._period_ns

    @property
    def stale_after_ns(self) -> int:
        """How long the source may show nothing new; may be asked by another thread, too."""
        return stale_after_ns(self._period_ns / 1e9)


class FillerFilter:
    """Tells frames from what drivers deliver in their place: the last frame once more, plain black or green."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._last_sample = b""

    def is_filler(self, image: NDArray[np.uint8]) -> bool:
        """Compare a live source's picture with the one before; a picture that is not filler becomes the one before.

        Args:
            image: (H, W, 3) uint8; kept until the next call.

        Returns:
            Whether every byte is that of the last picture, or the picture is what an empty buffer looks like: black, or
            one green, which is YUV's zero. A sensor has noise even in the dark. All are decided exactly; the sample
            only makes the usual answer cheap.
        """
        # Bytes: comparing them costs nothing, where each call of numpy on so few takes a microsecond or three.
        sample = image[::SAMPLE_STEP, ::SAMPLE_STEP].tobytes()
        if not (any(sample[0::3]) or any(sample[2::3])) and _is_blank(image):
            return True
        if sample == self._last_sample and self._last is not None and np.array_equal(self._last, image):
            return True
        self._last, self._last_sample = image, sample
        return False


def _is_blank(image: NDArray[np.uint8]) -> bool:
    green = int(image[0, 0, 1])
    return not image[:, :, 0].any() and not image[:, :, 2].any() and bool((image[:, :, 1] == green).all())
