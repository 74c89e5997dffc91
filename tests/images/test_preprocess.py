"""The one resize: its geometry, its smoothness, and the same bytes on every machine."""

import itertools
import runpy
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgex_runtime.errors import ImageError, SpecError
from edgex_runtime.preprocess import resize, to_input
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize, ResizeFilter, ResizeMode

MODES: tuple[ResizeMode, ...] = ("crop", "stretch", "letterbox")
FILTERS: tuple[ResizeFilter, ...] = ("area-linear", "halving-linear")
every_filter = pytest.mark.parametrize("name", FILTERS)
Image = NDArray[np.uint8]


def ramp(height: int, width: int) -> Image:
    """Red grows with the column, green with the row: a pixel's colour tells where it comes from, to 1/255 of a side."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack(
        [(2 * columns + 1) * 255 / (2 * width), (2 * rows + 1) * 255 / (2 * height), 0 * rows], axis=-1
    ).astype(np.uint8)


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def target(height: int, width: int) -> InputSpec:
    return InputSpec(height=height, width=width)


def model(mode: ResizeMode = "crop", **changes: object) -> ModelSpec:
    given = {"height": 24, "width": 32, **{k: v for k, v in changes.items() if k in ("dtype", "layout", "color")}}
    normalise = Normalise(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
    return ModelSpec(
        name="m", labels=("a", "b"), input=InputSpec(**given), resize=Resize(mode=mode), normalise=normalise
    )


sides = st.integers(1, 700)


@every_filter
@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    height=sides, width=sides, to_height=st.integers(1, 300), to_width=st.integers(1, 300), mode=st.sampled_from(MODES)
)
def test_any_size_becomes_any_size(
    name: ResizeFilter, height: int, width: int, to_height: int, to_width: int, mode: ResizeMode
) -> None:
    result = resize(noise(height, width), target(to_height, to_width), Resize(mode=mode, filter=name))
    assert result.shape == (to_height, to_width, 3)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert result.flags.writeable


@every_filter
@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    height=sides,
    width=sides,
    to_height=st.integers(1, 300),
    to_width=st.integers(1, 300),
    fraction=st.floats(0.05, 1.0),
    mode=st.sampled_from(("crop", "stretch")),
    grey=st.integers(0, 255),
)
def test_one_colour_stays_that_colour(
    name: ResizeFilter,
    height: int,
    width: int,
    to_height: int,
    to_width: int,
    fraction: float,
    mode: ResizeMode,
    grey: int,
) -> None:
    image = np.full((height, width, 3), (grey, 255 - grey, 7), np.uint8)
    result = resize(image, target(to_height, to_width), Resize(mode=mode, crop_fraction=fraction, filter=name))
    assert np.all(result == image[0, 0])


# In output pixels, by each filter's promise.
MOST_MOVED: dict[ResizeFilter, float] = {"area-linear": 1 / 2, "halving-linear": 4 / 7}


@every_filter
@settings(derandomize=True, deadline=None, max_examples=150)
@given(side=st.integers(8, 1500), to_side=st.integers(8, 260), down=st.booleans())
def test_stretching_moves_nothing_by_more_than_promised(
    name: ResizeFilter, side: int, to_side: int, down: bool
) -> None:
    # A step edge: where the output crosses half its height is where the edge went, to a fraction of a pixel.
    edge = side // 3 + 1
    image = np.zeros((side, 2, 3) if down else (2, side, 3), np.uint8)
    (image if down else image.transpose(1, 0, 2))[edge:] = 255
    size = target(to_side, 2) if down else target(2, to_side)
    profile = resize(image, size, Resize(mode="stretch", filter=name))[..., 0].astype(float).mean(axis=1 if down else 0)
    crossed = to_side - profile.sum() / 255
    # Enlarging, an edge between two pixels lies as exactly as they do.
    assert abs(crossed - edge * to_side / side) < max(MOST_MOVED[name], 0.5 * to_side / side) + 0.02


@every_filter
@pytest.mark.parametrize("to_side", [64, 100, 128, 224, 299])
@pytest.mark.parametrize(
    "size", [(480, 640), (720, 1280), (1080, 1920), (333, 500), (299, 299), (451, 300), (721, 1283)]
)
def test_a_ramp_keeps_its_place_in_every_mode(name: ResizeFilter, size: tuple[int, int], to_side: int) -> None:
    height, width = size
    short = min(size)
    kept = {"crop": (short, short), "stretch": (height, width), "letterbox": (height, width)}
    for mode in MODES:
        how = Resize(mode=mode, filter=name)
        result = resize(ramp(height, width), target(to_side, to_side), how).astype(float)
        if mode == "letterbox":
            fitted = [max(1, (2 * side * to_side + max(size)) // (2 * max(size))) for side in size]
            top, left = ((to_side - side) // 2 for side in fitted)
            result = result[top : top + fitted[0], left : left + fitted[1]]
        for axis, channel in ((0, 1), (1, 0)):
            count, whole, part = result.shape[axis], size[axis], kept[mode][axis]
            place = result[..., channel].mean(axis=1 - axis) / 255 * whole - (whole - part) // 2
            expected = (np.arange(count) + 0.5) * part / count
            # And one grey level of the ramp, in source pixels; the border has no neighbours.
            allowed = max(MOST_MOVED[name] * part / count, 0.5) + 1.5 * whole / 255
            assert np.abs(place - expected)[1:-1].max() < allowed


@pytest.mark.parametrize(
    ("size", "to_size", "fraction", "rows", "columns"),
    [
        ((6, 10), (6, 6), 1.0, slice(0, 6), slice(2, 8)),
        ((10, 6), (6, 6), 1.0, slice(2, 8), slice(0, 6)),
        ((7, 10), (7, 7), 1.0, slice(0, 7), slice(1, 8)),
        ((8, 16), (4, 8), 0.5, slice(2, 6), slice(4, 12)),
        ((9, 9), (3, 3), 0.34, slice(3, 6), slice(3, 6)),
        ((5, 5), (1, 1), 0.01, slice(2, 3), slice(2, 3)),
    ],
)
def test_crop_takes_exactly_these_pixels(
    size: tuple[int, int], to_size: tuple[int, int], fraction: float, rows: slice, columns: slice
) -> None:
    image = noise(*size)
    result = resize(image, target(*to_size), Resize(mode="crop", crop_fraction=fraction))
    assert np.array_equal(result, image[rows, columns])


@pytest.mark.parametrize(
    ("size", "to_size", "inside"),
    [
        ((4, 8), (8, 8), (slice(2, 6), slice(0, 8))),
        ((8, 4), (8, 8), (slice(0, 8), slice(2, 6))),
        ((4, 8), (9, 8), (slice(2, 6), slice(0, 8))),
        ((5, 5), (5, 5), (slice(0, 5), slice(0, 5))),
    ],
)
def test_letterbox_shows_the_whole_picture_between_bars(
    size: tuple[int, int], to_size: tuple[int, int], inside: tuple[slice, slice]
) -> None:
    image = noise(*size)
    result = resize(image, target(*to_size), Resize(mode="letterbox", fill=114))
    assert np.array_equal(result[inside], image)
    result[inside] = 114
    assert np.all(result == 114)


@every_filter
@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (1, 1), (3, 30_000)])
def test_extreme_shapes_work(name: ResizeFilter, size: tuple[int, int]) -> None:
    for mode in MODES:
        assert resize(noise(*size), target(299, 224), Resize(mode=mode, filter=name)).shape == (299, 224, 3)


@every_filter
def test_a_huge_factor_does_not_overflow(name: ResizeFilter) -> None:
    # 3000² · 255 exceeds what OpenCV sums in.
    white = np.full((3000, 3000, 3), 255, np.uint8)
    assert resize(white, target(1, 1), Resize(mode="stretch", filter=name)).tolist() == [[[255, 255, 255]]]


@every_filter
def test_fine_stripes_become_grey_not_moire(name: ResizeFilter) -> None:
    stripes = np.zeros((720, 720, 3), np.uint8)
    stripes[:, ::2] = 255
    result = resize(stripes, target(299, 299), Resize(mode="stretch", filter=name)).astype(int)
    assert np.abs(result - 127.5).max() <= 1
    aliased = cv2.resize(stripes, (299, 299), interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(aliased - 127.5).max() > 50


def test_views_and_read_only_pictures_are_read_where_they_lie() -> None:
    image = noise(90, 120)
    expected = resize(image[5:80, 7:100].copy(), target(32, 48), Resize(mode="crop"))
    image.flags.writeable = False
    assert np.array_equal(resize(image[5:80, 7:100], target(32, 48), Resize(mode="crop")), expected)
    mirrored = resize(image[:, ::-1], target(32, 48), Resize(mode="crop"))
    assert np.array_equal(mirrored, resize(image[:, ::-1].copy(), target(32, 48), Resize(mode="crop")))


def test_the_result_is_the_callers_own() -> None:
    image = noise(16, 16)
    for mode in MODES:
        assert not np.shares_memory(resize(image, target(16, 16), Resize(mode=mode)), image)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
    ids=lambda image: f"{image.dtype}{image.shape}",
)
def test_refuses_what_is_no_picture(image: Image) -> None:
    with pytest.raises(ImageError, match=r"want \(H, W, 3\) uint8 RGB"):
        resize(image, target(8, 8), Resize(mode="crop"))
    with pytest.raises(ImageError, match="want one image or more"):
        to_input([], model())


def test_our_own_models_get_the_resized_bytes_and_nothing_else() -> None:
    images = [noise(50, 70), noise(24, 32), noise(300, 31)]
    for mode in MODES:
        batch = to_input(images, model(mode))
        assert batch.dtype == np.uint8
        assert batch.flags.c_contiguous
        expected = np.stack([resize(image, target(24, 32), Resize(mode=mode)) for image in images])
        assert np.array_equal(batch, expected)


@pytest.mark.parametrize(
    ("dtype", "layout", "color"),
    list(itertools.product(("uint8", "float32"), ("NHWC", "NCHW"), ("RGB", "BGR"))),
)
def test_foreign_models_get_their_order_layout_and_normalisation(dtype: str, layout: str, color: str) -> None:
    images = [noise(50, 70), noise(24, 32)]
    spec = model(dtype=dtype, layout=layout, color=color)
    expected = to_input(images, model()).astype(np.float64)
    if color == "BGR":
        expected = expected[..., ::-1]
    if dtype == "float32":
        # In the graph's channel order: mean[0] belongs to the graph's first channel.
        expected = (expected - [10.0, 20.0, 30.0]) / [2.0, 4.0, 8.0]
    if layout == "NCHW":
        expected = np.moveaxis(expected, 3, 1)
    result = to_input(images, spec)
    assert result.shape == (2, *spec.input.shape)
    assert result.dtype == np.dtype(dtype)
    assert result.flags.c_contiguous
    # Divided by powers of two: exact in float32.
    assert np.array_equal(result, expected)


# docs/adr/0006-resize.md and 0009-halving.md tell where these were checked; to change one is to change the contract of
# every artifact.
DIGESTS = {
    ("area-linear", "crop", "golden_cases"): "98a1dbc8327a9c766ceb430c6128fbe5ebb048db442659b8dcc96a44016a437b",
    ("area-linear", "crop", "random_cases"): "5d87dcb40b2771655dbbb9bc906f97c1804064ddc4e8e84bd84986174ad9b30e",
    ("area-linear", "stretch", "golden_cases"): "e1319d65a3fe66256b38916e29cbbbc9fcbdb9a5e00b7a1a9a523e618fa882ba",
    ("area-linear", "stretch", "random_cases"): "5f58d452ecf75cc4af2d1bc32cae89f3c09cd3734ef6a33884720c3d76f32a9a",
    ("area-linear", "letterbox", "golden_cases"): "2445ed048831af98e1ccc68d0c1dce279c86a07e9e8244284c724ec9a4c46962",
    ("area-linear", "letterbox", "random_cases"): "31953ea3500e9e8c05c8e500465ba0433ae51131473a5a573c73c1fd18d8ede4",
    ("halving-linear", "crop", "golden_cases"): "048ee4f65fc4e3057d6449ce652753967d4f549f866362afc670cc6c2ba9b070",
    ("halving-linear", "crop", "random_cases"): "f443b023711b46fd9ebb5512551bfc5a899c4696d0dcebdefc79033d3044b361",
    ("halving-linear", "stretch", "golden_cases"): "c01ceae856bba9d0c5e77c6c097b281e3ae3520051a082edafaaae5b1849faec",
    ("halving-linear", "stretch", "random_cases"): "2ea40fcaf7cdbe7989b6e3c906dcc3da36ebb6b19167ef9c1b7fb96cb023866d",
    ("halving-linear", "letterbox", "golden_cases"): "129d0e55e1156b5e8d0a154997af6de643cb75636008082cbdd25b56134f0a6b",
    ("halving-linear", "letterbox", "random_cases"): "1fba76114cb7047a590808849beb7a1a526c31d84ef10b6e0ddd247e2879fa08",
}


@pytest.mark.parametrize(("name", "mode", "cases"), DIGESTS)
def test_the_bytes_are_those_of_every_other_machine(name: ResizeFilter, mode: ResizeMode, cases: str) -> None:
    script = runpy.run_path(str(Path(__file__).with_name("resize_digests.py")))
    assert script["digest"](script[cases](name, mode)) == DIGESTS[name, mode, cases]


def test_the_filters_differ_and_a_contract_keeps_its_own() -> None:
    image = noise(90, 200)
    results = [resize(image, target(32, 32), Resize(mode="stretch", filter=name)) for name in FILTERS]
    assert not np.array_equal(*results)
    for name in FILTERS:
        spec = replace(model(), resize=Resize(mode="stretch", filter=name))
        assert ModelSpec.from_json(spec.to_json()).resize.filter == name


def test_an_unknown_filter_is_refused_by_name() -> None:
    text = model().to_json().replace('"halving-linear"', '"lanczos"')
    with pytest.raises(SpecError, match=r"filter.*area-linear.*halving-linear.*'lanczos'"):
        ModelSpec.from_json(text)


@pytest.mark.parametrize("side", [174, 175, 349, 350, 700, 1399, 1400])
def test_halves_while_seven_quarters_of_the_output_are_left(side: int) -> None:
    # Columns of one value each: after k halvings of a multiple of 2^k columns, only the interpolation is left.
    halvings = sum(side // 2**k >= 175 for k in range(8))
    image = np.repeat(noise(1, side), 100, axis=0)
    whole = side >> halvings << halvings
    cut = image[:, (side - whole) // 2 :][:, :whole].astype(int)
    for _ in range(halvings):
        cut = (cut[:, 0::2] + cut[:, 1::2] + 1) // 2
    wanted = cv2.resize(cut.astype(np.uint8), (100, 100), interpolation=cv2.INTER_LINEAR_EXACT)
    result = resize(image, target(100, 100), Resize(mode="stretch", filter="halving-linear"))
    assert np.array_equal(result, wanted)
