"""A picture of any size → the tensor that a graph takes: the one function for training, calibration and every engine.

Geometry is integer arithmetic and all interpolations are exact in OpenCV, so that the same picture gives the same
bytes on every CPU and with every OpenCV that edgex allows (docs/adr/0006-resize.md, docs/adr/0009-halving.md).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.errors import ImageError
from edgex_runtime.spec import InputSpec, ModelSpec, Resize, ResizeFilter

# OpenCV sums factor² bytes in an int32: 2048² · 255 < 2³¹. What is left to shrink beyond that is interpolated.
_MAX_FACTOR = 2048


@dataclass(frozen=True, slots=True)
class _Span:
    """`length` pixels from `start` on, along one axis."""

    start: int
    length: int

    @property
    def slice(self) -> slice:
        return slice(self.start, self.start + self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Which part of a picture a network sees, and where in its input that part lies; rows first.

    Attributes:
        picture: Of the picture.
        tensor: Of the input; all of it but with ``letterbox``.
    """

    picture: tuple[slice, slice]
    tensor: tuple[slice, slice]


def seen(height: int, width: int, input: InputSpec, resize: Resize) -> Seen:  # noqa: A002 (the contract's word)
    """What `resize` takes of a picture of `height` × `width`, and where it puts it."""
    picture = _Span(0, height), _Span(0, width)
    tensor = _Span(0, input.height), _Span(0, input.width)
    if resize.mode == "crop":
        picture = _crop(height, width, input.height, input.width, resize.crop_fraction)
    elif resize.mode == "letterbox":
        tensor = _fit(height, width, input.height, input.width)
    return Seen(picture=(picture[0].slice, picture[1].slice), tensor=(tensor[0].slice, tensor[1].slice))


def resize(image: NDArray[np.uint8], input: InputSpec, resize: Resize) -> NDArray[np.uint8]:  # noqa: A002 (the contract's word)
    """Bring one picture to the input's size.

    Args:
        image: (H, W, 3) RGB, any size from 1 × 1; a view is fine.
        input: Gives height and width; its layout, dtype and colour order do not matter here.
        resize: Mode and filter. ``crop`` keeps ``round(crop_fraction · side)`` pixels of the largest centred rectangle
            that has the input's aspect ratio; ``letterbox`` fits the whole picture, centred. Halves round up; where a
            margin is odd, its right or bottom side is the wider.

    Returns:
        (input.height, input.width, 3) RGB, C-contiguous, owned by the caller.

    Raises:
        ImageError: If `image` is not (H, W, 3) uint8 with at least one pixel.
    """
    out = np.empty((input.height, input.width, 3), np.uint8)
    _resize_into(image, resize, out)
    return out


def to_input(images: Sequence[NDArray[np.uint8]], spec: ModelSpec) -> NDArray[np.generic]:
    """Prepare pictures for a graph.

    Args:
        images: Each (H, W, 3) RGB; sizes may differ.
        spec: Its `resize` is done for every model. Colour order, normalisation and layout are inside every graph of
            ours, and done here only for a foreign one.

    Returns:
        (N, *spec.input.shape) of `spec.input.dtype`, C-contiguous.

    Raises:
        ImageError: If there is no image, or one is not (H, W, 3) uint8 with at least one pixel.
    """
    if not len(images):
        raise ImageError("want one image or more, got none")
    batch = np.empty((len(images), spec.input.height, spec.input.width, 3), np.uint8)
    for image, out in zip(images, batch, strict=True):
        _resize_into(image, spec.resize, out)
    return _to_graph(batch, spec)


def _to_graph(batch: NDArray[np.uint8], spec: ModelSpec) -> NDArray[np.generic]:
    """(N, H, W, 3) uint8 RGB → what the graph takes; nothing to do for a graph of ours."""
    pixels: NDArray[np.generic] = batch[..., ::-1] if spec.input.color == "BGR" else batch
    if spec.input.dtype == "float32":
        assert spec.normalise is not None, "ModelSpec refuses a float32 input without it"
        mean, std = np.asarray(spec.normalise.mean, np.float32), np.asarray(spec.normalise.std, np.float32)
        pixels = (pixels.astype(np.float32) - mean) / std
    if spec.input.layout == "NCHW":
        pixels = pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(pixels)


def _resize_into(image: NDArray[np.uint8], resize: Resize, out: NDArray[np.uint8]) -> None:
    """Fill `out`, (h, w, 3), from `image`."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ImageError(
            f"image: want (H, W, 3) uint8 RGB with at least one pixel, got {image.shape} {image.dtype}: use read_image"
        )
    height, width = image.shape[:2]
    rows, columns = _Span(0, height), _Span(0, width)
    if resize.mode == "crop":
        rows, columns = _crop(height, width, out.shape[0], out.shape[1], resize.crop_fraction)
    elif resize.mode == "letterbox":
        to_rows, to_columns = _fit(height, width, out.shape[0], out.shape[1])
        out[:] = resize.fill
        out = out[to_rows.slice, to_columns.slice]
    _SCALE_INTO[resize.filter](image[rows.slice, columns.slice], out)


def _crop(height: int, width: int, to_height: int, to_width: int, fraction: float) -> tuple[_Span, _Span]:
    """The largest centred rectangle of the target's aspect ratio, times `fraction`."""
    if width * to_height <= height * to_width:
        kept_height, kept_width = _ratio(width * to_height, to_width), width
    else:
        kept_height, kept_width = height, _ratio(height * to_width, to_height)
    return (
        _centred(max(1, int(kept_height * fraction + 0.5)), height),
        _centred(max(1, int(kept_width * fraction + 0.5)), width),
    )


def _fit(height: int, width: int, to_height: int, to_width: int) -> tuple[_Span, _Span]:
    """Where in the target a whole picture lies, as large as it can, centred."""
    if width * to_height <= height * to_width:
        fitted_height, fitted_width = to_height, _ratio(width * to_height, height)
    else:
        fitted_height, fitted_width = _ratio(height * to_width, width), to_width
    return _centred(fitted_height, to_height), _centred(fitted_width, to_width)


def _ratio(numerator: int, denominator: int) -> int:
    """The quotient, rounded half up, at least one pixel; the same on every machine, as no float is."""
    return max(1, (2 * numerator + denominator) // (2 * denominator))


def _centred(length: int, within: int) -> _Span:
    return _Span((within - length) // 2, length)


def _average_area_into(region: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Filter ``area-linear``: average whole blocks of pixels, then interpolate what is left, a ratio below 2.

    Pixels that do not fill a block, fewer than one output pixel's worth, are left out on both sides: nothing moves
    by half an output pixel or more.
    """
    rows, row_blocks = _whole_blocks(region.shape[0], out.shape[0])
    columns, column_blocks = _whole_blocks(region.shape[1], out.shape[1])
    region = region[rows.slice, columns.slice]
    averaged_shape = (row_blocks, column_blocks, 3)
    if averaged_shape == out.shape:
        _cv2_resize_into(region, out, cv2.INTER_AREA)
    elif averaged_shape == region.shape:
        _cv2_resize_into(region, out, cv2.INTER_LINEAR_EXACT)
    else:
        averaged = np.empty(averaged_shape, np.uint8)
        _cv2_resize_into(region, averaged, cv2.INTER_AREA)
        _cv2_resize_into(averaged, out, cv2.INTER_LINEAR_EXACT)


def _whole_blocks(length: int, to_length: int) -> tuple[_Span, int]:
    """The centred pixels that fill whole blocks, and how many blocks: as few as there can be, `to_length` or more."""
    factor = min(max(1, length // to_length), _MAX_FACTOR)
    blocks = length // factor
    return _centred(blocks * factor, length), blocks


def _halve_into(region: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Filter ``halving-linear``: halve both sides together, then the side that is still too long, then interpolate.

    OpenCV has vector code for the 2 × 2 average and for pairs, and for no other block. Each side is halved while 7/4 of
    the output or more is left: so near to twice, halving and enlarging a little aliases less than interpolating alone.
    Pixels that do not fill a block of all halvings, at most 8/7 of an output pixel's worth, are left out on both sides
    alike: nothing moves by more than 4/7 of an output pixel.
    """
    rows, row_halvings = _whole_halvings(region.shape[0], out.shape[0])
    columns, column_halvings = _whole_halvings(region.shape[1], out.shape[1])
    region = region[rows.slice, columns.slice]
    for step in range(max(row_halvings, column_halvings)):
        down, across = step < row_halvings, step < column_halvings
        halved = np.empty((region.shape[0] >> down, region.shape[1] >> across, 3), np.uint8)
        # Midway between two pixels, INTER_LINEAR_EXACT is their average.
        _cv2_resize_into(region, halved, cv2.INTER_AREA if down and across else cv2.INTER_LINEAR_EXACT)
        region = halved
    _cv2_resize_into(region, out, cv2.INTER_LINEAR_EXACT)


def _whole_halvings(length: int, to_length: int) -> tuple[_Span, int]:
    """The centred pixels that can be halved to the end, and how often they are."""
    halvings = 0
    while 4 * (length >> halvings) >= 7 * to_length:
        halvings += 1
    return _centred(length >> halvings << halvings, length), halvings


def _cv2_resize_into(region: NDArray[np.uint8], out: NDArray[np.uint8], interpolation: int) -> None:
    if region.shape == out.shape:
        out[:] = region
    else:
        cv2.resize(region, out.shape[1::-1], dst=out, interpolation=interpolation)


_SCALE_INTO: Mapping[ResizeFilter, Callable[[NDArray[np.uint8], NDArray[np.uint8]], None]] = {
    "area-linear": _average_area_into,
    "halving-linear": _halve_into,
}
