"""The pictures that every artifact's self-test is recorded on and checked with; they ship inside the package.

Drawn by tests/runtime/regenerate_golden_images.py, and never changed afterwards: the golden samples of every artifact
out there belong to these bytes.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

NAMES = ("harbour", "orchard", "market", "signal")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoldenImage:
    """One picture.

    Attributes:
        name: How `GoldenSample.image` calls it.
        image: (H, W, 3) uint8 RGB, read-only.
    """

    name: str
    image: NDArray[np.uint8]


@cache
def load_golden_images() -> tuple[GoldenImage, ...]:
    """All of them, in a fixed order: landscape, portrait, and odd sizes, so that no resize mode is like another."""
    return tuple(GoldenImage(name=name, image=_load(name)) for name in NAMES)


@cache
def golden_sha256() -> str:
    """The digest of all of them, as they are shipped: nothing is decoded for it."""
    return hashlib.sha256(b"".join(map(_file, NAMES))).hexdigest()


def _load(name: str) -> NDArray[np.uint8]:
    # Imported here, so that a start whose self-test is remembered goes without the image decoders (5 MB of memory).
    from edgex_runtime.image import read_image

    image = read_image(_file(name))
    image.flags.writeable = False
    return image


def _file(name: str) -> bytes:
    return resources.files("edgex_runtime").joinpath("golden_images", f"{name}.png").read_bytes()
