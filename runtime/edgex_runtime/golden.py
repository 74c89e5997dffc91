"""The pictures that every artifact's self-test is recorded on and checked with; they ship inside the package.

Drawn by tests/runtime/regenerate_golden_images.py, and never changed afterwards: the golden samples of every artifact
out there belong to these bytes.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
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


def load_golden_images() -> tuple[GoldenImage, ...]:
    """All of them, in a fixed order: landscape, portrait, and odd sizes, so that no resize mode is like another."""
    return tuple(map(load_golden_image, NAMES))


def load_golden_image(name: str) -> GoldenImage:
    """One of `NAMES`, decoded anew at each call: a process that checks its model once keeps no picture for it."""
    # By OpenCV, which is there already; the decoders of `image.py` are 3 MB that a camera's process never needs again.
    bgr = cv2.imdecode(np.frombuffer(_file(name), np.uint8), cv2.IMREAD_COLOR)
    image: NDArray[np.uint8] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[assignment,arg-type]
    image.flags.writeable = False
    return GoldenImage(name=name, image=image)


@cache
def golden_sha256() -> str:
    """The digest of all of them, as they are shipped: nothing is decoded for it."""
    return hashlib.sha256(b"".join(map(_file, NAMES))).hexdigest()


def _file(name: str) -> bytes:
    # By its path: importlib.resources brings 2 MB of modules.
    return Path(__file__).with_name("golden_images").joinpath(f"{name}.png").read_bytes()
