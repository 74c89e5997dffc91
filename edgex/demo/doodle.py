"""Marks that are no sign: handwriting, scribbles, letters and tallies, on sheets that must not be called a star."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgex.demo.sign import Drawing, Path, tremble
from edgex.demo.texture import smooth_line

# Letters and digits of straight strokes that look like none of the signs: no O, X, T, A or V, no 1, 4 or 7.
GLYPHS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((-0.5, -1), (-0.5, 1), (0.6, 1)),  # L
    ((-0.6, 1), (-0.6, -1), (0.6, 1), (0.6, -1)),  # N
    ((-0.8, 1), (-0.7, -1), (0, 0.5), (0.7, -1), (0.8, 1)),  # M
    ((-0.7, -1), (0.7, -1), (-0.7, 1), (0.7, 1)),  # Z
    ((0.6, -1), (-0.6, -1), (-0.6, 0), (0.5, 0), (-0.6, 0), (-0.6, 1), (0.6, 1)),  # E
    ((-0.5, -0.6), (0, -1), (0.5, -0.5), (-0.6, 1), (0.6, 1)),  # 2
    ((-0.6, -1), (0.5, -0.7), (-0.1, -0.1), (0.6, 0.4), (-0.6, 1)),  # 3
    ((-0.7, -1), (-0.7, 1), (-0.7, 0.1), (0.6, 0.1), (0.6, -1), (0.6, 1)),  # H
    ((-0.6, -1), (-0.5, 0.8), (0, 1), (0.5, 0.8), (0.6, -1)),  # U
)


def draw_doodle(rng: np.random.Generator) -> Drawing:
    """One mark as large as a sign, within about −1..1, that means none of them."""
    kind = DOODLES[int(rng.integers(len(DOODLES)))]
    angle = rng.normal(0.0, 0.25)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return Drawing(strokes=tuple(tremble((path @ turn).astype(np.float32), 0.02, rng) for path in kind(rng)))


def draw_writing(width: float, rng: np.random.Generator) -> tuple[Path, ...]:
    """Lines of joined-up writing within 0..`width`, one unit high each, 1.8 units apart."""
    return tuple(
        _cursive(width * rng.uniform(0.4, 1.0), rng) + np.array([0.0, 1.8 * row], np.float32)
        for row in range(int(rng.integers(1, 6)))
    )


def _cursive(width: float, rng: np.random.Generator) -> Path:
    t = np.linspace(0.0, width, max(8, int(width * 9)))
    tall = 0.35 + 0.25 * smooth_line(len(t), int(width * 1.5) + 2, rng)
    phase = 2 * np.pi * t * rng.uniform(0.9, 1.4)
    x = t + 0.28 * np.sin(phase) + 0.1 * smooth_line(len(t), int(width) + 2, rng)
    return np.stack([x, tall * np.cos(phase + 0.6)], axis=1).astype(np.float32)


def _wave(rng: np.random.Generator) -> list[Path]:
    t = np.linspace(-1.0, 1.0, 48)
    return [np.stack([t, rng.uniform(0.1, 0.5) * np.sin(t * rng.uniform(3, 12))], axis=1)]


def _bars(rng: np.random.Generator) -> list[Path]:
    places = np.linspace(-0.8, 0.8, int(rng.integers(2, 6)))
    return [np.array([[x, -0.7], [x + rng.normal(0, 0.08), 0.7]]) for x in places]


def _spiral(rng: np.random.Generator) -> list[Path]:
    t = np.linspace(0.0, rng.uniform(5.0, 8.0) * np.pi, 120)
    radius = np.linspace(0.08, 1.0, 120)
    return [np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)]


def _scribble(rng: np.random.Generator) -> list[Path]:
    knots = int(rng.integers(8, 22))
    return [np.stack([smooth_line(140, knots, rng), smooth_line(140, knots, rng)], axis=1)]


def _glyphs(rng: np.random.Generator) -> list[Path]:
    count = int(rng.integers(1, 4))
    paths: list[NDArray[np.floating]] = []
    for place in range(count):
        glyph = np.array(GLYPHS[int(rng.integers(len(GLYPHS)))])
        paths.append(glyph * [0.8 / count, 0.9 / count**0.5] + [(2 * place + 1 - count) / count, 0.0])
    return [path.astype(np.float32) for path in paths]


def _cursive_word(rng: np.random.Generator) -> list[Path]:
    width = rng.uniform(2.0, 5.0)
    return [((_cursive(width, rng) - [width / 2, 0]) * (2 / width)).astype(np.float32)]


def _arc(rng: np.random.Generator) -> list[Path]:
    """A bow of at most half a circle: a smile, a bracket, a C."""
    start = rng.uniform(0, 2 * np.pi)
    t = np.linspace(start, start + rng.uniform(0.5, 1.1) * np.pi, 32)
    return [np.stack([0.9 * np.cos(t), 0.9 * np.sin(t)], axis=1)]


DOODLES: tuple[Callable[[np.random.Generator], list[Path]], ...] = (
    _wave,
    _bars,
    _spiral,
    _scribble,
    _glyphs,
    _glyphs,
    _cursive_word,
    _arc,
)
