"""Judges the photos that int8 is calibrated on: a wrong set is refused before any stage, a doubtful one is told.

The scales of int8 fit whatever was shown. Shown noise or blackness, they fit that, and nothing of it can be seen in the
file: the gate would refuse it an hour later without saying why.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_converters import difference_hash, saved_tensor
from edgex_runtime.errors import DatasetError

Fault = Literal["normalised", "dark", "constant", "noise"]

# What a camera does now and then: one in ten is let through with a warning, more is a folder of something else.
MOST_FAULTY = 0.1

# Sensors and codecs leave black at 0 to 15 (video's black level is 16). A photo six stops too dark still lifts what was
# lighter than middle grey above it; of 3,115 flowers, silhouettes among them, the darkest has 6 % of its pixels there.
DARK_LEVEL = 16
DARK_BRIGHTEST_SHARE = 0.01
# On a grid of 32 × 32, where the noise of a sensor has averaged out. The flattest of 3,115 flowers has 17 grey levels;
# six stops too dark it still has 2.6.
GRID = 32
CONSTANT_DEVIATION = 2.0
# White noise has 0 at every scale, 0.23 after a JPEG of quality 30; photos have 0.55 or more at one of the two scales
# (3,115 flowers), the drawn signs, speckled backgrounds among them, 0.6.
NOISE_CORRELATION = 0.3
_PATCH = 256
_SMALLEST_JUDGED = 16

_WORDS: dict[Fault, str] = {
    "normalised": "hold no values but 0 and 1: tensors that were normalised before they were saved",
    "dark": f"are black (fewer than {DARK_BRIGHTEST_SHARE:.0%} of the pixels reach {DARK_LEVEL} of 255)",
    "constant": f"are of one colour (they vary by less than {CONSTANT_DEVIATION:.0f} of 255)",
    "noise": f"are noise (neighbouring pixels correlate by less than {NOISE_CORRELATION})",
}
_SHOWN = 5


def fault_of(image: NDArray[np.uint8]) -> Fault | None:
    """Why a picture cannot stand for what a camera sees, or None.

    `normalised`: the largest value is 1. `dark`: fewer than 1 % of the pixels have a channel of 16 or more. `constant`:
    averaged down to 32 × 32, no channel's standard deviation reaches 2. `noise`: the correlation of neighbouring pixels
    of the grey picture is below 0.3 both in its centre at full size and averaged down to 32 × 32: noise is white at
    every scale, texture (gravel, cloth) at the coarse one only. Of that large pictures have little left on the grid, so
    `noise` comes first where the centre varies. Pictures of fewer than 16 pixels a side are too small for `noise`.

    Args:
        image: (H, W, 3) RGB as decoded, before it is resized for the network.
    """
    if image.max() == 1:
        return "normalised"
    black = cv2.countNonZero(cv2.inRange(image, (0, 0, 0), (DARK_LEVEL - 1,) * 3))
    if black > (1 - DARK_BRIGHTEST_SHARE) * image[..., 0].size:
        return "dark"
    patch, coarse = _centre(image), _coarse(image)
    flat = _deviation(coarse) < CONSTANT_DEVIATION
    if flat and _deviation(patch) < CONSTANT_DEVIATION:
        return "constant"
    correlation = max(_neighbour_correlation(patch), _neighbour_correlation(coarse))
    if correlation < NOISE_CORRELATION and min(image.shape[:2]) >= _SMALLEST_JUDGED:
        return "noise"
    return "constant" if flat else None


def judge(faults: Sequence[Fault | None], paths: Sequence[Path]) -> tuple[str, ...]:
    """What there is to say of the chosen photos' faults, a line each kind.

    Raises:
        DatasetError: If more than `MOST_FAULTY` of them have one.
    """
    found: dict[Fault, list[Path]] = {}
    for fault, path in zip(faults, paths, strict=True):
        if fault is not None:
            found.setdefault(fault, []).append(path)
    count = sum(map(len, found.values()))
    if count > MOST_FAULTY * len(paths):
        kinds = sorted(found, key=lambda kind: -len(found[kind]))
        what = "; ".join(f"{len(found[kind])} {_WORDS[kind]}, {found[kind][0]} first" for kind in kinds)
        advice = saved_tensor.ADVICE if kinds[0] == "normalised" else "give photos as the camera will see them"
        raise DatasetError(
            f"calibration: want photos, at most {MOST_FAULTY:.0%} of them without a picture, got {count} of "
            f"{len(paths)}: {what}: {advice}"
        )
    return tuple(
        f"calibration: {len(those)} of {len(paths)} photos {_WORDS[kind]}: {_list(those)}"
        for kind, those in found.items()
    )


def judge_tensor_files(tensors: Sequence[Path], photos: int) -> tuple[str, ...]:
    """What there is to say of files of arrays among the photos, which nobody reads.

    Raises:
        DatasetError: If more than `MOST_FAULTY` of all are such.
    """
    if not tensors:
        return ()
    first = f"{tensors[0]} ({saved_tensor.describe(tensors[0])})"
    if len(tensors) > MOST_FAULTY * (len(tensors) + photos):
        raise DatasetError(
            f"calibration: want photos, found {len(tensors)} saved tensors beside {photos} pictures, {first} first: "
            f"{saved_tensor.ADVICE}"
        )
    return (f"calibration: {len(tensors)} saved tensors among the photos are not read, {first} first",)


def judge_classes(found: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Say which of the model's classes have no photo."""
    missing = [label for label in labels if label not in found]
    if not missing:
        return ()
    return (
        f"calibration: {len(missing)} of the model's {len(labels)} classes have no folder of photos, so that the int8 "
        f"scales know nothing of them: {_list(missing)}",
    )


def compare(
    inputs: NDArray[np.uint8],
    paths: Sequence[Path],
    evaluation_inputs: NDArray[np.uint8],
    evaluation_paths: Sequence[Path],
) -> tuple[str, ...]:
    """Name the calibration photos that show what an evaluation photo shows.

    Args:
        inputs: (N, H, W, 3) RGB of the calibration photos, resized by the contract.
        paths: Their files.
        evaluation_inputs: (M, H, W, 3), likewise.
        evaluation_paths: Their files.

    Raises:
        DatasetError: If one has the very pixels of an evaluation photo: the same photo in another file.
    """
    pairs = difference_hash.alike(inputs, evaluation_inputs)
    same = [pair for pair in pairs if np.array_equal(inputs[pair.first], evaluation_inputs[pair.second])]
    if same:
        raise DatasetError(
            f"calibration: {len(same)} of {len(paths)} photos have the very pixels of an evaluation photo, "
            f"{paths[same[0].first]} those of {evaluation_paths[same[0].second]}: "
            "give --calib and --eval folders that have none in common"
        )
    if not pairs:
        return ()
    named = [f"{paths[pair.first]} and {evaluation_paths[pair.second]}" for pair in pairs]
    return (
        f"calibration: {len(pairs)} of {len(paths)} photos look like an evaluation photo (up to "
        f"{max(pair.bits for pair in pairs)} of {difference_hash.SIDE**2} bits of their difference hashes differ), "
        f"so that int8's accuracy may be flattered: {_list(named)}",
    )


def _centre(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """At most 256 × 256 pixels from the middle, as they are."""
    top, left = (max(0, (length - _PATCH) // 2) for length in image.shape[:2])
    return image[top : top + _PATCH, left : left + _PATCH].astype(np.float32)


def _coarse(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """At most 32 × 32 averages of the whole picture, not rounded: bytes would take what little a dim picture has."""
    rows, columns = image.shape[:2]
    # A large photo is first brought down as bytes, whose rounding averages out below: a tenth of the time.
    middle = cv2.resize(image, (min(_PATCH, columns), min(_PATCH, rows)), interpolation=cv2.INTER_AREA)
    grid = cv2.resize(middle.astype(np.float32), (min(GRID, columns), min(GRID, rows)), interpolation=cv2.INTER_AREA)
    return np.asarray(grid, np.float32)


def _deviation(image: NDArray[np.float32]) -> float:
    """The standard deviation of the channel that varies most."""
    return float(image.reshape(-1, 3).std(axis=0).max())


def _neighbour_correlation(image: NDArray[np.float32]) -> float:
    """Mean of the correlations between a grey pixel and the one below, and the one to the right: 0 in white noise."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
    return (_correlation(grey[1:], grey[:-1]) + _correlation(grey[:, 1:], grey[:, :-1])) / 2


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson's; 1 where there is nothing that varies."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 1.0


def _list(names: Sequence[object]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(map(str, names[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
