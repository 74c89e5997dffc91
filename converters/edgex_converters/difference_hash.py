"""Finds photos that show the same picture though their bytes differ: another size, another exposure, saved again."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 16
# Of 256 bits. Of the 1.4 million pairs of a training and a validation photo in the flowers set the three nearest (3, 5
# and 26 bits) are the same scene taken or edited twice; the next, at 39, are strangers. Saving as JPEG of quality 30,
# halving the size, 20 % more light or 40 % less changes 25 bits or fewer of 95 % of the photos.
ALIKE_BITS = 30


@dataclass(frozen=True, slots=True)
class Alike:
    """Picture `first` of one set shows what picture `second` of another does; `bits` of their hashes differ."""

    first: int
    second: int
    bits: int


def difference_hash(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The difference hash (dHash) of one picture: where, on a coarse grid, it grows brighter from left to right.

    The picture is made grey (ITU-R BT.601), averaged down to 16 rows of 17, and each of a row's 16 neighbouring pairs
    gives one bit (Neal Krawetz, "Kind of Like That", The Hacker Factor Blog, 2013, who takes 8 rows of 9: 64 bits told
    apart too little here). Light, contrast and size cancel out; a mirrored or cropped picture is another one.

    Args:
        image: (H, W, 3) RGB, all pictures to be compared at one size.

    Returns:
        (256,), row by row; all False for a picture without any difference, which says nothing of it.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cells[:, 1:] > cells[:, :-1]).ravel()


def alike(first: Iterable[NDArray[np.uint8]], second: Iterable[NDArray[np.uint8]]) -> tuple[Alike, ...]:
    """For each picture of `first` the nearest of `second`, where no more than `ALIKE_BITS` of their hashes differ.

    Args:
        first: Pictures of one size, each (H, W, 3) RGB.
        second: More of them, of the same size.
    """
    a, b = _signs(first), _signs(second)
    if not len(a) or not len(b):
        return ()
    # Of ±1, the sum of products is the bits that agree less those that do not; pictures that say nothing are all 0.
    bits = np.rint((SIDE * SIDE - a @ b.T) / 2).astype(int)
    nearest = bits.argmin(1)
    return tuple(
        Alike(index, int(other), int(bits[index, other]))
        for index, other in enumerate(nearest)
        if bits[index, other] <= ALIKE_BITS
    )


def _signs(images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(N, 256): +1 where a bit is set, −1 where not, and all 0 for a picture without any difference."""
    hashes = [difference_hash(image) for image in images]
    return np.array([np.where(bits, 1, -1) * bits.any() for bits in hashes], np.float32).reshape(-1, SIDE * SIDE)
