"""Drawn photos that a tiny network can tell apart, and the settings that train it in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgex.training.config import TrainConfig

SHAPES = ("cross", "ring", "square")


def draw_shape(kind: str, rng: np.random.Generator) -> np.ndarray:
    """One dark shape on light paper, (64, 72, 3)."""
    image = np.full((64, 72, 3), rng.integers(170, 256, 3), np.uint8)
    ink = tuple(int(value) for value in rng.integers(0, 80, 3))
    x, y, r = (int(rng.integers(low, high)) for low, high in ((26, 46), (24, 40), (12, 20)))
    if kind == "cross":
        cv2.line(image, (x - r, y), (x + r, y), ink, 5)
        cv2.line(image, (x, y - r), (x, y + r), ink, 5)
    elif kind == "ring":
        cv2.circle(image, (x, y), r, ink, 5)
    else:
        cv2.rectangle(image, (x - r, y - r), (x + r, y + r), ink, -1)
    return image


def write_photos(root: Path, count: int, *, seed: int = 0, kinds: tuple[str, ...] = SHAPES) -> Path:
    """A folder per shape, `count` photos in each."""
    rng = np.random.default_rng(seed)
    for kind in kinds:
        (root / kind).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(root / kind / f"{number:03}.png"), draw_shape(kind, rng))
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 photos of each of three shapes, undivided; read only."""
    return write_photos(tmp_path_factory.mktemp("photos") / "shapes", 40)


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """`write_photos`, for tests that want their own."""
    return write_photos


@pytest.fixture(scope="session")
def tiny() -> Callable[..., TrainConfig]:
    """A config of the smallest network, with changes."""

    def build(data: Path, out: Path, **changes: Any) -> TrainConfig:
        settings: dict[str, Any] = {
            "width": 0.05,
            "middle_blocks": 0,
            "image_size": 48,
            "epochs": 2,
            "batch_size": 16,
            "device": "cpu",
            "workers": 2,
        }
        return TrainConfig(data=data, out=out, **(settings | changes))

    return build
