"""Recognises tensors that somebody saved where photos belong: preprocessed once, they would be preprocessed twice."""

from pathlib import Path

import cv2
import numpy as np

SUFFIXES = frozenset({".npy", ".npz", ".pt", ".pth", ".safetensors", ".h5", ".hdf5", ".tfrecord", ".tfrecords"})
ADVICE = "resizing and scaling are part of the artifact: give the photos themselves, as the camera saves them"

_MOST_VALUES = 1_000_000


def is_tensor_file(path: Path) -> bool:
    """Whether the name is that of a file of arrays.

    >>> is_tensor_file(Path("calib/0001.npy")), is_tensor_file(Path("calib/0001.png"))
    (True, False)
    """
    return path.suffix.lower() in SUFFIXES


def describe(path: Path) -> str | None:
    """What the tensor in a file is, from its name and its values; None if it is none, as far as can be told.

    >>> describe(Path("photo.jpg")) is None
    True
    """
    if path.suffix.lower() in (".tif", ".tiff"):
        return _describe_tiff(path)
    if not is_tensor_file(path):
        return None
    if path.suffix.lower() != ".npy":
        return f"a file of arrays ({path.suffix})"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return "an array that cannot be read"
    return _describe_array(array)


def _describe_tiff(path: Path) -> str | None:
    """A TIFF of floats; Pillow reads those of one channel only, OpenCV those of three too."""
    try:
        array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if array is None or array.dtype.kind != "f":
        return None
    return f"{_describe_array(np.asarray(array))} in a TIFF"


def _describe_array(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> str:
    words = f"an array, {array.dtype} {array.shape}"
    if array.dtype.kind not in "fiu":
        return words
    values = array.flat[:_MOST_VALUES]
    finite = values[np.isfinite(values)]
    if not finite.size:
        return words
    low, high = float(finite.min()), float(finite.max())
    normalised = array.dtype.kind == "f" and low >= -16 and high <= 16
    return f"{words}, values {low:.3g} … {high:.3g}{', normalised already' if normalised else ''}"
