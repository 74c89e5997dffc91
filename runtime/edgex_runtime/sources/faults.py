"""What goes wrong with a test camera, on demand and at known moments: anyone can try what their set-up does then."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, ImageError, SourceLostError


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults that take turns, in this order; seconds each, 0 for never.

    Attributes:
        black: Filler: pictures that are black to the last byte.
        stall: No picture at all.
        disconnect: The camera is lost and cannot be opened.
        every: Seconds from one to the next; the first comes after so many.
    """

    black: float
    stall: float
    disconnect: float
    every: float

    @property
    def turns(self) -> list[tuple[str, float]]:
        """Those that were asked for, with their seconds."""
        named = (("black", self.black), ("stall", self.stall), ("disconnect", self.disconnect))
        return [(name, seconds) for name, seconds in named if seconds > 0]

    def at(self, seconds: float) -> str | None:
        """The fault that reigns so many seconds after the camera was opened.

        >>> faults = Faults(black=1, stall=2, disconnect=0, every=5)
        >>> [faults.at(second) for second in (0, 5, 6, 10, 11.9, 12, 15)]
        [None, 'black', None, 'stall', 'stall', None, 'black']
        """
        turns = self.turns
        if not turns or seconds < self.every:
            return None
        turn = int(seconds // self.every)
        name, lasts_s = turns[(turn - 1) % len(turns)]
        return name if seconds - turn * self.every < lasts_s else None

    def check(self, uri: str) -> None:
        """Refuse what cannot be.

        Raises:
            BadInputError: If one of them is not over before the next.
        """
        for name, seconds in self.turns:
            if seconds >= self.every:
                raise BadInputError(
                    f"{shown(uri)}: {name}={seconds:g}s is not over before the next fault: "
                    f"want less than every={self.every:g}s"
                )


class Outages:
    """Cameras that refuse to be opened for a while, by their address and the clock that they go by."""

    def __init__(self) -> None:
        self._until_ns: dict[tuple[str, Clock], int] = {}

    def begin(self, uri: str, clock: Clock, seconds: float) -> None:
        """From now on `uri` cannot be opened for so long."""
        self._until_ns[uri, clock] = clock.now_ns() + round(seconds * 1e9)

    def check(self, uri: str, clock: Clock) -> None:
        """Raise SourceLostError while `uri` cannot be opened."""
        left_ns = self._until_ns.get((uri, clock), 0) - clock.now_ns()
        if left_ns > 0:
            raise SourceLostError(f"{shown(uri)}: disconnected for another {left_ns / 1e9:.1f} s, as asked for")
        self._until_ns.pop((uri, clock), None)


def read_damaged(image: NDArray[np.uint8], name: str, rng: np.random.Generator) -> str:
    """Send a picture through JPEG, lose its end on the way, and read what is left.

    Args:
        image: (H, W, 3) uint8 RGB.
        name: What a person calls it.
        rng: Decides how much is lost.

    Returns:
        What is to be said of it, once the reader has refused it.
    """
    # Imported here, so that a camera without faults goes without the image decoders.
    from edgex_runtime.image import read_image

    whole: bytes = cv2.imencode(".jpg", image)[1].tobytes()
    kept = int(len(whole) * rng.uniform(0.05, 0.95))
    try:
        read_image(whole[:kept])
    except ImageError:
        return f"{name}: want a whole JPEG, found {kept} of its {len(whole)} bytes"
    raise AssertionError("a JPEG without its end was read")
