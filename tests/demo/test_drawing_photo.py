"""What a drawn photo promises: the same from the same seed, a sign that can be seen, some variety."""

import numpy as np
import pytest

from edgex.demo import marker
from edgex.demo.doodle import draw_doodle
from edgex.demo.paper import make_sheet
from edgex.demo.photo import draw_photo
from edgex.demo.pose import choose_pose
from edgex.demo.sign import NOTHING, SIGNS, draw_sign

DRAWN = tuple(sign for sign in SIGNS if sign != NOTHING)


@pytest.mark.parametrize("sign", SIGNS)
def test_same_seed_gives_the_same_photo_and_another_seed_another(sign: str) -> None:
    first, again, other = (draw_photo(sign, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("height", "width"), [(240, 320), (96, 96), (360, 200)])
def test_photo_is_rgb_bytes_of_the_size_asked_for(height: int, width: int) -> None:
    image = draw_photo("star", np.random.default_rng(0), height=height, width=width)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_refuses_an_unknown_sign_and_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"want one of arrow, .*got 'hexagon'"):
        draw_photo("hexagon", np.random.default_rng(0))


@pytest.mark.parametrize("sign", SIGNS)
def test_photos_are_neither_black_nor_burnt_out_nor_flat(sign: str) -> None:
    for seed in range(12):
        image = draw_photo(sign, np.random.default_rng([1, seed])).astype(float)
        assert 15 < image.mean() < 245
        if sign != NOTHING:  # A bare wall is allowed to be flat.
            assert image.std() > 6


@pytest.mark.parametrize("sign", DRAWN)
def test_sign_is_inside_the_central_square_but_for_a_sixth(sign: str) -> None:
    height, width = 240, 320
    for seed in range(20):
        rng = np.random.default_rng([2, seed])
        sheet = make_sheet(sign, 200, rng)
        pose = choose_pose(sheet, height, width, rng, radius_px=float(rng.uniform(30, 110)))
        angles = np.linspace(0, 2 * np.pi, 64)
        ring = np.array(sheet.centre) + sheet.radius_px * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        x, y = pose.project(sheet, ring).T
        # The near side of a tilted sheet looks larger than its radius: 20 % more slack for it.
        slack = 0.2 * 2 * pose.scale * sheet.radius_px + 0.16 * 2 * pose.scale * sheet.radius_px
        assert x.min() > (width - height) / 2 - slack
        assert x.max() < (width + height) / 2 + slack
        assert y.min() > -slack
        assert y.max() < height + slack


@pytest.mark.parametrize("sign", DRAWN)
def test_ink_is_on_the_sheet_and_differs_from_its_paper(sign: str) -> None:
    for seed in range(8):
        rng = np.random.default_rng([3, seed])
        pen = marker.choose_marker(200, rng)
        drawing = draw_sign(sign, rng)
        strokes = tuple((path * 80 + 128).astype(np.float32) for path in drawing.strokes)
        ink = marker.draw(type(drawing)(strokes=strokes), (256, 256), pen, rng)
        share = float((ink > 60).mean())
        assert 0.01 < share < 0.6
        paper = np.ones((256, 256, 3), np.float32)
        marker.stain(paper, ink, pen, rng)
        assert paper[ink > 200].mean() < 0.75
        assert paper[ink == 0].mean() > 0.9


@pytest.mark.parametrize("sign", DRAWN)
def test_strokes_stay_in_the_unit_box_and_differ_from_one_drawing_to_the_next(sign: str) -> None:
    rng = np.random.default_rng(4)
    drawings = [np.concatenate(draw_sign(sign, rng).strokes) for _ in range(10)]
    assert all(np.abs(points).max() < 1.6 for points in drawings)
    sizes = {points.shape for points in drawings}
    assert len(sizes) > 1


def test_hearts_stay_upright() -> None:
    """A heart's two lobes lie above its tip: it is drawn as people draw it, not lying or upside down."""
    for seed in range(30):
        outline = draw_sign("heart", np.random.default_rng([5, seed])).outline
        assert outline is not None
        widths = np.ptp(outline[outline[:, 1] < 0][:, 0]), np.ptp(outline[outline[:, 1] > 0.35][:, 0])
        assert widths[0] > widths[1]


def test_doodles_are_lines_within_the_unit_box() -> None:
    for seed in range(40):
        drawing = draw_doodle(np.random.default_rng([6, seed]))
        assert drawing.outline is None
        assert all(np.abs(path).max() < 1.8 and len(path) > 1 for path in drawing.strokes)


def test_nothing_comes_with_and_without_a_sheet_on_it() -> None:
    """The class must hold bare scenes and sheets with marks: else one of the two would be called a sign."""
    rng = np.random.default_rng(9)
    sheets = [make_sheet(NOTHING, 120, rng) for _ in range(24)]
    contrast = [float(np.ptp(sheet.picture.mean(axis=2))) for sheet in sheets]
    assert min(contrast) < 0.3 < 0.6 < max(contrast)


def test_signs_are_the_sorted_folder_names() -> None:
    assert list(SIGNS) == sorted(SIGNS)
    assert NOTHING in SIGNS
    assert len(SIGNS) == 8
