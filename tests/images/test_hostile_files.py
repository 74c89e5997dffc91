"""Real files that broke other readers, row by row of their manifest: what a correct reader makes of each."""

import csv
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgex_runtime.errors import ImageError
from edgex_runtime.image import read_image
from edgex_runtime.preprocess import resize
from edgex_runtime.spec import InputSpec, Resize

pytestmark = pytest.mark.shared

Check = Callable[[NDArray[np.uint8], Path], None]


def has_size(width: int, height: int) -> Check:
    def check(image: NDArray[np.uint8], path: Path) -> None:
        assert image.shape == (height, width, 3)

    return check


def is_upright(image: NDArray[np.uint8], path: Path) -> None:
    with warnings.catch_warnings():
        # The file under test has EXIF that Pillow's own transposition warns of.
        warnings.simplefilter("ignore", UserWarning)
        with Image.open(path) as stored:
            assert ImageOps.exif_transpose(stored).getexif().get(0x0112) is None
            assert np.array_equal(image, np.asarray(ImageOps.exif_transpose(stored)))
            assert not np.array_equal(image, np.asarray(stored))


def looks_like_landscape_1(image: NDArray[np.uint8], path: Path) -> None:
    one = read_image(path.with_name("Landscape_1.jpg"))
    assert image.shape == one.shape
    # The same scene, encoded once more: its numeral differs, the rest does not.
    assert np.median(np.abs(image.astype(int) - one)) <= 3


def has_three_equal_channels(image: NDArray[np.uint8], path: Path) -> None:
    assert image.shape == (128, 128, 3)
    assert np.array_equal(image[..., 0], image[..., 1])
    assert np.array_equal(image[..., 0], image[..., 2])


def lies_on_white(image: NDArray[np.uint8], path: Path) -> None:
    with Image.open(path) as stored:
        rgba = np.asarray(stored).astype(int)
    alpha = rgba[..., 3:] / 255
    assert np.all(image[rgba[..., 3] == 0] == 255)
    assert np.abs(image - (rgba[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1


def is_almost_black(image: NDArray[np.uint8], path: Path) -> None:
    assert image.shape == (64, 64, 3)
    assert image.max() <= 1


def is_first_frame(image: NDArray[np.uint8], path: Path) -> None:
    with Image.open(path) as stored:
        stored.seek(0)
        on_white = Image.new("RGBA", stored.size, "white")
        on_white.alpha_composite(stored.convert("RGBA"))
    assert np.array_equal(image, np.asarray(on_white.convert("RGB")))


def becomes_an_input(image: NDArray[np.uint8], path: Path) -> None:
    assert image.shape == (1, 1, 3)
    for mode in ("crop", "stretch", "letterbox"):
        assert resize(image, InputSpec(height=299, width=299), Resize(mode=mode)).shape == (299, 299, 3)


READ: dict[str, Check] = {
    "Landscape_1.jpg": has_size(1800, 1200),
    "Landscape_6.jpg": looks_like_landscape_1,
    "hopper_orientation_2.jpg": is_upright,
    "hopper_orientation_7.jpg": is_upright,
    "exif_imagemagick_orientation.png": is_upright,
    "hopper_gray.jpg": has_three_equal_channels,
    "jpeg_ff00_header.jpg": has_size(300, 225),
    "invalid-exif.jpg": has_size(200, 200),
    "transparent.png": lies_on_white,
    "i_trns.png": is_almost_black,
    "apng_mode_16bit.png": is_first_frame,
    "tRNS_null_1x1.png": becomes_an_input,
    "iss634.webp": is_first_frame,
}
REFUSED = {
    "truncated_image.png": "damaged or cut short.*get the file again",
    "broken.png": "header is damaged",
    "decompression_bomb.gif": "at most 178956970 pixels",
    "bmp_b_shortfile.bmp": "damaged or cut short.*get the file again",
    "zero_width.gif": "header is damaged",
    "unknown_compression_method.png": "header is damaged",
    "text_named.jpg": "found text.*give a JPEG",
}


@pytest.mark.parametrize("name", READ)
def test_reads_it_as_a_person_expects(shared: Path, name: str) -> None:
    path = shared / "hostile" / name
    READ[name](read_image(path), path)


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_it_by_name(shared: Path, name: str) -> None:
    with pytest.raises(ImageError, match=f"{name}: want .*{REFUSED[name]}"):
        read_image(shared / "hostile" / name)


def test_every_row_of_the_manifest_has_a_test(shared: Path) -> None:
    with (shared / "hostile" / "manifest.csv").open(newline="") as file:
        assert {row["file"] for row in csv.DictReader(file)} == READ.keys() | REFUSED.keys()
