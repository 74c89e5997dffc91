"""What `resize` makes of known pictures, as sha256s: `python tests/images/resize_digests.py` prints one line a case.

Run it on two machines, or with two OpenCVs, and compare the lines; it wants numpy, OpenCV, Pillow and `edgex_runtime`.
`test_preprocess.py` holds every machine that runs the suite to the same digests.
"""

import hashlib
import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.golden import load_golden_images
from edgex_runtime.preprocess import resize
from edgex_runtime.spec import InputSpec, Resize, ResizeFilter, ResizeMode

FILTERS: tuple[ResizeFilter, ...] = ("area-linear", "halving-linear")
MODES: tuple[ResizeMode, ...] = ("crop", "stretch", "letterbox")
SIZES = ((299, 299), (224, 224), (96, 128))
FRACTIONS = (1.0, 0.875)
RANDOM_CASES = 70


def golden_cases(name: ResizeFilter, mode: ResizeMode) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(description, result) for each golden image, size and crop fraction."""
    for golden, (height, width), fraction in itertools.product(load_golden_images(), SIZES, FRACTIONS):
        how = Resize(mode=mode, crop_fraction=fraction, filter=name)
        resized = resize(golden.image, InputSpec(height=height, width=width), how)
        yield f"{golden.name} {height}x{width} {fraction}", resized


def random_cases(name: ResizeFilter, mode: ResizeMode) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(description, result) for pictures of any shape, 1 to 2048 pixels a side, to sizes of 1 to 512."""
    rng = np.random.default_rng(20)
    for case in range(RANDOM_CASES):
        height, width = (int(rng.integers(1, 2 ** rng.integers(1, 12))) for _ in range(2))
        to_height, to_width = (int(rng.integers(1, 2 ** rng.integers(1, 10))) for _ in range(2))
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        if case % 3 == 0:
            # Flat patches and hard edges, where a rounding that differs shows over whole areas.
            image = image // 64 * 85
        fraction = FRACTIONS[case % 2]
        how = Resize(mode=mode, crop_fraction=fraction, filter=name)
        resized = resize(image, InputSpec(height=to_height, width=to_width), how)
        yield f"{height}x{width} to {to_height}x{to_width} {fraction}", resized


def digest(cases: Iterator[tuple[str, NDArray[np.uint8]]]) -> str:
    """One sha256 over all results, in order."""
    total = hashlib.sha256()
    for _, resized in cases:
        total.update(resized)
    return total.hexdigest()


if __name__ == "__main__":
    for name, mode, cases in itertools.product(FILTERS, MODES, (golden_cases, random_cases)):
        for description, resized in cases(name, mode):
            print(name, mode, description, hashlib.sha256(resized).hexdigest())
        print(name, mode, cases.__name__, digest(cases(name, mode)))
