"""What is drawn into a picture can be read, on any picture and in any script."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from sample_results import FAILED, RESULT, STALE

from edgex_runtime.sinks.annotate import Annotator
from edgex_runtime.sinks.lettering import Lettering, OpenCvPen, Pen, PillowPen


@pytest.mark.parametrize("background", [0, 128, 255])
@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (480, 640)])
def test_a_label_is_readable_on_light_and_dark(size: tuple[int, int], background: int) -> None:
    image = np.full((size[1], size[0], 3), background, dtype=np.uint8)
    drawn = Annotator().draw(image, RESULT)
    unlabelled = Annotator().draw(image, replace(RESULT, label=" "))
    row = np.abs(drawn.astype(int) - unlabelled).sum((1, 2)).nonzero()[0]
    line = drawn[row[0] : row[-1] + 1]
    ink, paper = float(line.max()), float(np.median(line))
    # WCAG 2.2, 1.4.3 asks for a contrast of 3 : 1 in large letters, by relative luminance.
    assert (_luminance(ink) + 0.05) / (_luminance(paper) + 0.05) > 3


def _luminance(grey: float) -> float:
    return float((grey / 255 / 1.055 + 0.0521) ** 2.4 if grey > 10 else grey / 255 / 12.92)


def test_the_score_bar_is_as_long_as_the_score() -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)

    def green(score: float) -> int:
        drawn = Annotator().draw(image, replace(RESULT, score=score)).astype(int)
        bar = drawn[400:]
        return int(((bar[..., 1] - bar[..., 0]) > 80).any(axis=0).sum())

    assert green(0.5) == pytest.approx(green(1.0) / 2, rel=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (48, 64), (3, 2000), (2000, 3)])
def test_even_a_tiny_picture_can_be_drawn_on(shape: tuple[int, int]) -> None:
    for result in (RESULT, STALE, FAILED):
        assert Annotator().draw(np.zeros((*shape, 3), dtype=np.uint8), result, title="front door").shape == (*shape, 3)


@pytest.mark.parametrize("pen", [OpenCvPen(), PillowPen()], ids=["opencv", "pillow"])
def test_letters_of_each_pen_fit_the_room_they_are_given(pen: Pen) -> None:
    letters = Lettering(pen)
    whole = letters.render("water bottle", 24, 1000)
    assert 90 < whole.shape[1] < 200
    assert whole.max() == 255
    cut = letters.render("water bottle", 24, 80)
    assert 40 < cut.shape[1] <= 80
    assert letters.render("water bottle", 24, 3).shape[1] <= 3
    assert letters.render("water bottle", 24, 1000) is whole


@pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV before 5 has no fonts of its own")
@pytest.mark.parametrize("word", ["żółw", "кот", "γάτα"])
def test_labels_beyond_ascii_are_written_in_their_own_letters(word: str) -> None:
    letters = Lettering()
    drawn = [letters.render(letter, 40, 1000) for letter in word]
    assert len({image.tobytes() for image in drawn}) == len(set(word))
    assert not any(np.array_equal(image, letters.render("\U0010ffff", 40, 1000)) for image in drawn)


def test_a_guess_is_drawn_as_unknown_with_a_bar_without_colour() -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    guess = Annotator().draw(image, replace(RESULT, known=False))
    unknown = Annotator().draw(image, replace(RESULT, label="unknown", known=False))
    assert np.array_equal(guess, unknown)
    bar = guess[440:].astype(int)
    assert int(np.abs(bar[..., 1] - bar[..., 0]).max()) < 40
    assert not np.array_equal(guess, Annotator().draw(image, RESULT))


def test_a_title_stays_in_the_left_half_however_long_it_is() -> None:
    image = np.full((360, 640, 3), 200, dtype=np.uint8)
    plain = Annotator().draw(image, RESULT)
    for title in ("door", "rtsp://camera.example/" * 9):
        changed = (Annotator().draw(image, RESULT, title=title) != plain).any(axis=2)
        assert changed.any()
        assert not changed[:, 320:].any()
        assert not changed[60:].any()


def test_a_picture_says_when_its_answer_was_used_again() -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    assert not np.array_equal(Annotator().draw(image, RESULT), Annotator().draw(image, replace(RESULT, reused=True)))
