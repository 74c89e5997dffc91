"""The motion gate: noise is no motion, a hand is, slow changes add up, and nothing is believed for ever."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgex_runtime.motion import MotionGate, MotionOptions

SECOND_NS = 1_000_000_000


def make_scene(seed: int, *, brighter: float = 0.0, hand: bool = False) -> NDArray[np.uint8]:
    """A camera's picture of a still room: the same room for every seed, with noise of its own."""
    room = np.random.default_rng(99).uniform(60, 180, (12, 16, 3)).repeat(30, axis=0).repeat(30, axis=1)
    room += np.random.default_rng(seed).normal(0, 6, room.shape) + brighter
    if hand:
        room[200:240, 300:340] = 220
    return np.clip(room, 0, 255).astype(np.uint8)


def test_noise_alone_is_still() -> None:
    gate = MotionGate(MotionOptions())
    still = [gate.is_still(make_scene(seed), seed * SECOND_NS // 30) for seed in range(60)]
    assert still == [False] + [True] * 59


def test_a_hand_in_a_corner_is_motion() -> None:
    gate = MotionGate(MotionOptions())
    gate.is_still(make_scene(0), 0)
    assert not gate.is_still(make_scene(1, hand=True), 1)


def test_a_slow_change_adds_up_because_it_is_compared_with_what_was_classified() -> None:
    gate = MotionGate(MotionOptions())
    # A third of a grey level a frame: no two frames differ by more than their noise.
    still = [gate.is_still(make_scene(seed, brighter=seed / 3), seed) for seed in range(40)]
    assert still.count(False) >= 2


def test_a_still_scene_is_classified_again_when_the_refresh_is_due() -> None:
    gate = MotionGate(MotionOptions(refresh_s=2.0))
    still = [gate.is_still(make_scene(second), second * SECOND_NS) for second in range(6)]
    assert still == [False, True, False, True, False, True]


def test_another_frame_size_is_motion() -> None:
    gate = MotionGate(MotionOptions())
    gate.is_still(make_scene(0), 0)
    assert not gate.is_still(np.ascontiguousarray(make_scene(0)[:, :400]), 1)


@pytest.mark.parametrize("wrong", [{"level": 0.0}, {"level": 256.0}, {"refresh_s": 0.0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MotionOptions(**wrong)
