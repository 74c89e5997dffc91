import dataclasses

import cv2
import numpy as np
import pytest

from edgex.training.augment import Augmentation
from edgex.training.task import photo_rng

STILL = Augmentation(size=64, keep_aspect=True, flip=False, min_scale=1.0, rotate_deg=0, color=0, degrade=0)
WILD = Augmentation(size=48, keep_aspect=False, degrade=1.0, erase=1.0)


@pytest.fixture
def image() -> np.ndarray:
    return cv2.resize(np.random.default_rng(1).integers(0, 256, (8, 9, 3), np.uint8), (90, 80))


@pytest.mark.parametrize("shape", [(80, 90), (5, 400), (1, 1), (48, 48)])
@pytest.mark.parametrize("keep_aspect", [True, False])
def test_any_photo_becomes_the_input_size(shape, keep_aspect):
    photo = np.full((*shape, 3), 200, np.uint8)

    view = dataclasses.replace(WILD, keep_aspect=keep_aspect)(photo, np.random.default_rng(0))

    assert (view.shape, view.dtype, view.flags.c_contiguous) == ((48, 48, 3), np.uint8, True)


def test_the_same_seed_epoch_and_photo_give_the_same_bytes(image):
    first, again = (WILD(image, photo_rng(7, 3, 11)) for _ in range(2))

    np.testing.assert_array_equal(first, again)
    for other in (photo_rng(8, 3, 11), photo_rng(7, 4, 11), photo_rng(7, 3, 12)):
        assert not np.array_equal(WILD(image, other), first)


def test_leaves_the_photo_as_it_is(image):
    before = image.copy()

    WILD(image, np.random.default_rng(0))

    np.testing.assert_array_equal(image, before)


def test_without_any_strength_a_square_photo_of_the_input_size_stays_itself():
    photo = cv2.resize(np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8), (64, 64))
    # Aspect jitter remains: of many draws the least distorted shows that nothing is shifted or recoloured.
    nearest = min(
        float(np.abs(STILL(photo, np.random.default_rng(seed)).astype(int) - photo).mean()) for seed in range(40)
    )

    assert nearest < 2.0


def test_mirrors_half_of_the_photos_and_none_when_told_so():
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, 40:] = 255

    def bright_right(augment: Augmentation) -> int:
        views = [augment(photo, np.random.default_rng(seed)).astype(int) for seed in range(100)]
        return sum(view[:, 32:].sum() > view[:, :32].sum() for view in views)

    assert bright_right(STILL) == 100
    assert 35 <= bright_right(dataclasses.replace(STILL, flip=True)) <= 65


def test_a_colour_keeps_its_name():
    """The strongest jitter of the defaults leaves red red and blue blue: the label survives."""
    augment = Augmentation(size=32, keep_aspect=True)
    for channel in (0, 2):
        photo = np.full((64, 64, 3), 60, np.uint8)
        photo[..., channel] = 200
        for seed in range(50):
            mean = augment(photo, np.random.default_rng(seed)).reshape(-1, 3).mean(0)
            assert mean.argmax() == channel


def test_grey_stays_grey(image):
    grey = np.repeat(image[..., :1], 3, axis=2)

    view = dataclasses.replace(STILL, color=1.0)(grey, np.random.default_rng(3)).astype(int)

    assert np.ptp(view, axis=2).max() <= 1  # Rounding of the three channels.
