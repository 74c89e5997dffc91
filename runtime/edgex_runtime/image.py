"""Any picture → (H, W, 3) uint8 RGB, upright: the first step of training's evaluation, calibration and every engine.

What a person sees in a viewer is what a network gets: EXIF orientation is applied, transparency lies on `BACKGROUND`,
an animation shows its first frame, 16-bit grey keeps its brightness. Colour profiles are not applied.
"""

import io
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgex_runtime.errors import ImageError
from edgex_runtime.pixels import from_array

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
BACKGROUND = (255, 255, 255)
"""What transparency is laid on: white, as on a page."""
MAX_PIXELS = 178_956_970
"""Larger pictures are refused before their pixels are allocated (this many take 512 MiB): Pillow's own hard limit."""

# Others (EPS, PSD, FITS, …) start interpreters or are seldom fuzzed; a photo is none of them.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
_GREY16 = ("I", "I;16", "I;16L", "I;16B", "I;16N")

# All that Pillow was seen to raise for damaged files; its decoders let the errors of their parsing through.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# What people give by mistake, by its first bytes (an ISO media file has its brand at byte 4).
_OTHER_FILES = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML or SVG file"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"8BPS", "a Photoshop file"),
)
_ISO_BRANDS = {b"heic": "a HEIC photo", b"heix": "a HEIC photo", b"mif1": "a HEIC photo", b"avif": "an AVIF picture"}

_filters = threading.Lock()


def is_image_file(path: str | PathLike[str]) -> bool:
    """Whether the name is that of a picture `read_image` reads.

    >>> is_image_file("holiday.JPG"), is_image_file("notes.txt")
    (True, False)
    """
    return Path(path).suffix.lower() in SUFFIXES


def read_image(source: str | PathLike[str] | bytes | Image.Image | NDArray[Any]) -> NDArray[np.uint8]:
    """Read one picture.

    Args:
        source: A JPEG, PNG, WebP, BMP, GIF or TIFF file or its bytes, a Pillow image, or pixels: (H, W, 3) uint8 RGB or
            (H, W) uint8 grey.

    Returns:
        (H, W, 3) uint8 RGB, upright, C-contiguous. An array that is all that already is returned itself, not copied.

    Raises:
        ImageError: If there is no such file, it is not a picture, is damaged or cut short, has more than `MAX_PIXELS`,
            or its pixels have no known white (floats, integers of more than 16 bits).
    """
    if isinstance(source, np.ndarray):
        return from_array(source)
    if isinstance(source, Image.Image):
        return _from_pillow(source, name=f"{source.mode} image")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), name=f"image of {len(source)} bytes")
    return _from_file(source)


def _from_file(path: str | PathLike[str]) -> NDArray[np.uint8]:
    with _open(Path(path)) as file:
        return _decode(file, name=str(path))


def _open(path: Path) -> BinaryIO:
    try:
        # A pipe or a device never ends, and opening one may wait for ever: asked before it is opened.
        kind = path.stat().st_mode
        if stat.S_ISREG(kind):
            return path.open("rb")
    except FileNotFoundError as error:
        raise ImageError(f"{path}: want an image file, found none of that name: check the path") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: want a readable image file, found: {error}: check path and permissions") from error
    found = "a folder" if stat.S_ISDIR(kind) else "a device or pipe"
    raise ImageError(f"{path}: want an image file, found {found}: name a file")


def _decode(file: BinaryIO, *, name: str) -> NDArray[np.uint8]:
    try:
        with _pillow_silent():
            image = Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(name, "a header that claims more")) from error
    except _DAMAGED as error:
        file.seek(0)
        raise ImageError(f"{name}: want a picture, found {_describe(file.read(64))}: {_ADVICE}") from error
    with image:
        return _from_pillow(image, name=name)


_ADVICE = "give a JPEG, PNG, WebP, BMP, GIF or TIFF"


def _from_pillow(image: Image.Image, *, name: str) -> NDArray[np.uint8]:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(_too_large(name, f"{image.width} x {image.height}"))
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{name}: want at least one pixel, found {image.width} x {image.height}: give another picture")
    found = f"{image.format or 'picture'} {image.width} x {image.height}, {image.mode}"
    try:
        _load(image)
        return _upright(_to_rgb(image, name=name), _orientation(image))
    except ImageError:
        raise
    except _DAMAGED as error:
        why = f"that is damaged or cut short ({error})"
        raise ImageError(f"{name}: want a whole picture, found {found}, {why}: get the file again") from error


def _load(image: Image.Image) -> None:
    """Decode the pixels; TIFF alone parses metadata once more while it does."""
    if image.format == "TIFF":
        with _pillow_silent():
            image.load()
    else:
        image.load()


def _to_rgb(image: Image.Image, *, name: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB as stored, not yet upright."""
    if image.mode in _GREY16:
        return from_array(_grey16_to_8(np.asarray(image), name=name))
    if image.mode == "F":
        raise ImageError(f"{name}: want 8 or 16 bits a channel, found floats, whose white is unknown: save it as 8-bit")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _grey16_to_8(grey: NDArray[Any], *, name: str) -> NDArray[np.uint8]:
    """Scale 0..65535 to 0..255, rounded: Pillow's own conversion clips all above 255 to white."""
    darkest, brightest = int(grey.min()), int(grey.max())
    if darkest < 0 or brightest > 65535:
        raise ImageError(
            f"{name}: want grey in 0..65535, found {darkest}..{brightest}, whose white is unknown: save it as 16-bit"
        )
    return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or none that can be read."""
    try:
        with _pillow_silent():
            value = image.getexif().get(0x0112, 1)
    except _DAMAGED:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo a camera's rotation: orientations 5..8 are stored transposed; then rows, columns or both run backwards."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


@contextmanager
def _pillow_silent() -> Iterator[None]:
    """Keep Pillow's warnings about odd metadata and large pictures from the user, who can do nothing about them.

    Python's warning filters belong to the whole process: one thread at a time, for the short while of parsing a header.
    """
    with _filters, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _too_large(name: str, found: str) -> str:
    return f"{name}: want at most {MAX_PIXELS} pixels, found {found}: scale the picture down first"


def _describe(head: bytes) -> str:
    """What a file that is no picture of ours seems to be, from its first bytes."""
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp":
        return _ISO_BRANDS.get(head[8:12], "a video")
    for magic, words in _OTHER_FILES:
        if head.startswith(magic):
            return words
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")):
        return "a picture whose header is damaged"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return f"text ({head[:24].decode('utf-8', 'replace')!r} …)"
    return f"bytes of no known kind ({head[:8].hex(' ')} …)"
