"""What `read_image` makes of every kind of picture; each is made here, with Pillow or byte by byte."""

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, TiffTags

from edgex_runtime.errors import ImageError
from edgex_runtime.image import MAX_PIXELS, is_image_file, read_image

WHITE, RED, GREEN, BLUE = (255, 255, 255), (255, 0, 0), (0, 128, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """13 × 7, no two pixels alike, no symmetry."""
    rows, columns = np.mgrid[:7, :13]
    pixels = np.stack([columns * 19, rows * 36, (rows * 13 + columns) * 2], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG of any depth and colour type; `rows` each begin with filter byte 0."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_give_the_very_pixels(picture: Image.Image, kind: str) -> None:
    data = encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(read_image(data), np.asarray(picture))


def test_path_string_bytes_and_memory_give_the_same(tmp_path: Path, picture: Image.Image) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(picture, "PNG"))
    for source in (path, str(path), path.read_bytes(), picture, np.asarray(picture)):
        result = read_image(source)
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous
        assert np.array_equal(result, np.asarray(picture))


def test_a_decoded_picture_may_be_written_to(picture: Image.Image) -> None:
    read_image(encoded(picture, "PNG"))[0, 0] = 1
    read_image(picture)[0, 0] = 1
    assert picture.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "memory"])
def test_exif_orientation_is_undone(picture: Image.Image, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    source = Image.open(io.BytesIO(encoded(picture, "PNG" if kind == "memory" else kind, exif=exif, **options)))
    result = read_image(source if kind == "memory" else encoded(picture, kind, exif=exif, **options))
    assert np.array_equal(result, np.asarray(ImageOps.exif_transpose(source)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_a_jpeg_is_undone(picture: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture, "JPEG", exif=exif, quality=95)
    with Image.open(io.BytesIO(data)) as stored:
        assert np.array_equal(read_image(data), np.asarray(ImageOps.exif_transpose(stored)))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(picture: Image.Image, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert np.array_equal(read_image(encoded(picture, "PNG", exif=exif)), np.asarray(picture))


def test_broken_exif_does_not_cost_the_picture(picture: Image.Image) -> None:
    tail = b"\x01\x12\x00\x03\xff\xff\xff\xff\x00\x00"
    for exif in (
        b"Exif\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\x00\x05" + tail,
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0no",
    ):
        result = read_image(encoded(picture, "JPEG", exif=exif, quality=95))
        assert np.array_equal(result, read_image(encoded(picture, "JPEG", quality=95)))


def test_grey_is_repeated_into_three_channels() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    for source in (encoded(Image.fromarray(grey), "PNG"), Image.fromarray(grey), grey):
        assert np.array_equal(read_image(source), np.stack([grey] * 3, axis=-1))


def test_black_and_white_is_0_and_255() -> None:
    bits = Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1")
    assert read_image(encoded(bits, "PNG"))[0, :, 0].tolist() == [0, 255, 0]


def test_transparency_lies_on_white() -> None:
    pixels = np.array([[(*RED, 255), (*RED, 0), (0, 0, 0, 128)]], np.uint8)
    assert read_image(encoded(Image.fromarray(pixels), "PNG")).tolist() == [[[*RED], [*WHITE], [127] * 3]]
    grey = Image.new("LA", (2, 1), (9, 0))
    assert read_image(encoded(grey, "PNG")).tolist() == [[[*WHITE], [*WHITE]]]


def test_a_palette_keeps_its_colours_and_its_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2])
    assert read_image(encoded(image, "PNG")).tolist() == [[[*RED], [*GREEN], [*BLUE]]]
    assert read_image(encoded(image, "PNG", transparency=1)).tolist() == [[[*RED], [*WHITE], [*BLUE]]]
    assert read_image(encoded(image, "PNG", transparency=bytes([255, 0, 255]))).tolist() == [
        [[*RED], [*WHITE], [*BLUE]]
    ]
    assert read_image(encoded(image, "GIF", transparency=2)).tolist() == [[[*RED], [*GREEN], [*WHITE]]]


def test_one_transparent_colour_of_an_rgb_png_is_white() -> None:
    image = Image.fromarray(np.array([[RED, GREEN]], np.uint8))
    assert read_image(encoded(image, "PNG", transparency=GREEN)).tolist() == [[[*RED], [*WHITE]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "memory", "memory int32"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    image = Image.fromarray(values.astype(np.int32) if kind == "memory int32" else values)
    result = read_image(image if kind.startswith("memory") else encoded(image, kind))
    assert result[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_16_bit_colour_and_alpha_keep_their_brightness() -> None:
    colour = struct.pack(">B3H3H", 0, 65535, 32768, 0, 257, 514, 65535)
    assert np.abs(read_image(png(2, 1, 16, 2, colour)).astype(int) - [[[255, 128, 0], [1, 2, 255]]]).max() <= 1
    alpha = struct.pack(">B4H4H", 0, 65535, 0, 0, 65535, 65535, 0, 0, 0)
    assert read_image(png(2, 1, 16, 6, alpha)).tolist() == [[[*RED], [*WHITE]]]
    grey_alpha = struct.pack(">B2H2H", 0, 0, 65535, 0, 0)
    assert read_image(png(2, 1, 16, 4, grey_alpha)).tolist() == [[[0, 0, 0], [*WHITE]]]


def test_grey_without_a_known_white_is_refused() -> None:
    for values in (np.array([[0.5]], np.float32), np.array([[70_000]], np.int32), np.array([[-1]], np.int32)):
        with pytest.raises(ImageError, match="white is unknown"):
            read_image(Image.fromarray(values))


def test_cmyk_looks_as_on_paper() -> None:
    inks = {"paper": (0, 0, 0, 0), "cyan": (255, 0, 0, 0), "black": (0, 0, 0, 255), "red": (0, 255, 255, 0)}
    seen = {name: read_image(encoded(Image.new("CMYK", (16, 16), ink), "TIFF"))[8, 8] for name, ink in inks.items()}
    assert {name: tuple(map(int, rgb)) for name, rgb in seen.items()} == {
        "paper": WHITE,
        "cyan": (0, 255, 255),
        "black": (0, 0, 0),
        "red": RED,
    }


def test_cmyk_jpeg_with_adobes_inverted_inks_is_not_a_negative() -> None:
    # Pillow writes CMYK as Photoshop does: an Adobe marker, and inks inverted.
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert b"Adobe" in data
    assert np.abs(read_image(data)[8, 8].astype(int) - RED).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_shows_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in (RED, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert read_image(data).shape == (6, 8, 3)
    assert np.all(read_image(data) == RED)


def test_one_pixel_is_a_picture() -> None:
    assert read_image(encoded(Image.new("RGB", (1, 1), RED), "PNG")).tolist() == [[[*RED]]]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
        np.uint8(3),
    ],
    ids=lambda pixels: f"{pixels.dtype}{pixels.shape}",
)
def test_an_array_of_another_kind_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"want \(H, W, 3\) uint8 RGB"):
        read_image(np.asarray(pixels))


def test_an_array_that_is_right_is_not_copied() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    assert np.shares_memory(read_image(pixels), pixels)
    assert read_image(pixels[:, ::-1]).flags.c_contiguous


def bomb_png(width: int, height: int) -> bytes:
    return png(width, height, 8, 2, b"\0")


def bomb_gif(width: int, height: int) -> bytes:
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + b"\0\0\0" + b",\0\0\0\0" + size + b"\0" + b"\x08\x02\x00\x01\x00;"


@pytest.mark.parametrize("data", [bomb_png(100_000, 100_000), bomb_gif(65535, 65535)], ids=["png", "gif"])
def test_a_decompression_bomb_is_refused_before_its_pixels_are_allocated(data: bytes) -> None:
    with pytest.raises(ImageError, match=f"at most {MAX_PIXELS} pixels"):
        read_image(data)


def test_the_limit_holds_for_pillow_images_and_where_pillows_own_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    for source in (bomb_png(MAX_PIXELS // 10_000 + 1, 10_000), Image.open(io.BytesIO(bomb_png(50_000, 50_000)))):
        with pytest.raises(ImageError, match=f"at most {MAX_PIXELS} pixels"):
            read_image(source)


def test_a_large_photo_below_the_limit_is_read_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pillow warns between its limit and twice that: the same path at a size that costs the test nothing.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    assert read_image(encoded(Image.new("RGB", (13, 7)), "PNG")).shape == (7, 13, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_a_picture_cut_short_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"cut\.jpg: want"):
        read_image(path)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"just some words\n", "text"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC photo"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"\x89PNG\r\n\x1a\nnonsense", "a picture whose header is damaged"),
        (b"\xff\xd8\xff", "a picture whose header is damaged"),
        (bytes(range(1, 60)), "no known kind"),
        (bomb_gif(0, 5), "header is damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, found: str) -> None:
    with pytest.raises(ImageError, match=f"found.*{found}.*give a JPEG"):
        read_image(data)


def test_a_path_without_a_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: want an image file, found none"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="found a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="a device or pipe"):
        read_image("/dev/zero")
    with pytest.raises(ImageError, match="null byte"):
        read_image("a\0b.jpg")


def test_metadata_that_pillow_warns_of_is_read_in_silence(picture: Image.Image) -> None:
    frames_too_many = chunk(b"acTL", struct.pack(">II", 0, 0))
    animated = png(1, 1, 8, 2, b"\0\xff\0\0", extra=frames_too_many)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert read_image(animated).tolist() == [[[*RED]]]
        read_image(encoded(picture, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\x00\x05\x01\x12\x00\x03\xff\xff"))
        read_image(tiff_with_broken_exif(picture))
    assert not caught


def tiff_with_broken_exif(picture: Image.Image) -> bytes:
    """Its EXIF directory, which Pillow reads while it decodes, claims an entry and ends in the middle of it."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[0x8770] = TiffTags.LONG
    tags[0x8770] = 0
    data = encoded(picture, "TIFF", tiffinfo=tags)
    entry = data.index(struct.pack("<HHI", 0x8770, TiffTags.LONG, 1))
    exif = struct.pack("<HHII", 0x8769, TiffTags.LONG, 1, len(data))
    return data[:entry] + exif + data[entry + len(exif) :] + b"\x01\x00\x03\x90"


def test_pillows_settings_and_pythons_filters_stay_as_they_were(picture: Image.Image) -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    read_image(encoded(picture, "JPEG"))
    with pytest.raises(ImageError):
        read_image(b"no picture")
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


def test_many_threads_read_the_same_picture(picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data, results = encoded(picture, "PNG", exif=exif), []
    threads = [threading.Thread(target=lambda: results.extend(read_image(data) for _ in range(20))) for _ in range(8)]
    before = list(warnings.filters)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 160
    assert all(np.array_equal(result, results[0]) for result in results)
    assert list(warnings.filters) == before


SEEDS = {
    kind: encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 11, 3), np.uint8)), kind)
    for kind in ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
}


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    kind=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
    length=st.integers(1, 600),
)
def test_damaged_bytes_give_a_picture_or_an_image_error(kind: str, changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(SEEDS[kind])
    for place, value in changes:
        data[place % len(data)] = value
    try:
        result = read_image(bytes(data[:length]))
    except ImageError:
        return
    assert result.dtype == np.uint8
    assert result.ndim == 3
    assert result.size


def test_suffixes_decide_what_is_a_picture() -> None:
    assert all(is_image_file(f"a.{suffix}") for suffix in ("jpg", "JPEG", "png", "WebP", "bmp", "gif", "tif", "tiff"))
    assert not any(is_image_file(name) for name in ("a.txt", "jpg", ".jpg", "a.jpg.part", "a"))
