"""Smooth random fields: what desks, walls, creases, light and a trembling hand are all made of."""

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""(H, W) values, about −1..1 unless a function says otherwise."""

Canvas = NDArray[np.float32]
"""(H, W, 3) RGB light, 0..1."""

Colour = tuple[float, float, float]
"""RGB light, 0..1."""

T = TypeVar("T")


def pick(options: Sequence[tuple[T, float]], rng: np.random.Generator) -> T:
    """One of (option, weight) pairs, as often as its weight says."""
    target = rng.random() * sum(weight for _, weight in options)
    for option, weight in options:
        target -= weight
        if target < 0:
            return option
    return options[-1][0]


def smooth_noise(shape: tuple[int, int], cells: tuple[int, int], rng: np.random.Generator) -> Field:
    """Value noise: a grid of (rows, columns) random values, interpolated to `shape` (height, width)."""
    grid = rng.uniform(-1.0, 1.0, cells).astype(np.float32)
    return np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def clouds(shape: tuple[int, int], rng: np.random.Generator, *, cells: int = 3, octaves: int = 3) -> Field:
    """Fractal value noise: each octave has twice the cells and half the height of the one before it."""
    # Nothing in it is finer than a few pixels: it is summed on a quarter of the rows and columns and then enlarged.
    coarse = (max(8, shape[0] // 4), max(8, shape[1] // 4))
    total = np.zeros(coarse, np.float32)
    for octave in range(octaves):
        count = cells * 2**octave + 1
        total += smooth_noise(coarse, (count, count), rng) * np.float32(0.5**octave)
    return np.asarray(cv2.resize(total, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def smooth_line(points: int, knots: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(points,) values that wander smoothly through `knots` random ones in −1..1: how a hand drifts along a stroke."""
    values = rng.uniform(-1.0, 1.0, max(2, knots))
    places = np.linspace(0.0, len(values) - 1.0, points)
    left = np.minimum(places.astype(int), len(values) - 2)
    blend = 0.5 - 0.5 * np.cos(np.pi * (places - left))
    return np.asarray(values[left] * (1.0 - blend) + values[left + 1] * blend, np.float32)


def gradient(shape: tuple[int, int], angle_rad: float) -> Field:
    """A ramp from −1 to 1 across the picture in the direction of `angle_rad`."""
    y = np.linspace(-1.0, 1.0, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, shape[1], dtype=np.float32)[None, :]
    reach = abs(np.cos(angle_rad)) + abs(np.sin(angle_rad))
    return np.asarray((x * np.cos(angle_rad) + y * np.sin(angle_rad)) / reach, np.float32)


def colour_near(colour: Colour, spread: float, rng: np.random.Generator) -> Colour:
    """A colour whose channels lie within `spread` of the given one's, kept in 0..1."""
    red, green, blue = np.clip(np.asarray(colour) + rng.uniform(-spread, spread, 3), 0.0, 1.0)
    return float(red), float(green), float(blue)


def scaled(colour: Colour, share: float) -> Colour:
    """A colour with `share` of its light, or more light where it is above 1; kept in 0..1."""
    red, green, blue = (min(1.0, share * value) for value in colour)
    return red, green, blue


def grey(low: float, high: float, rng: np.random.Generator) -> Colour:
    """A grey between two levels."""
    level = float(rng.uniform(low, high))
    return level, level, level


def mix(canvas: Canvas, colour: Colour | Canvas, mask: Field) -> None:
    """Lay a colour (or another canvas) over `canvas` in place where `mask` (0..1) says so."""
    canvas += (np.asarray(colour, np.float32) - canvas) * mask[:, :, None]
