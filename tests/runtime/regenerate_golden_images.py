"""Draw the golden images again: `python tests/runtime/regenerate_golden_images.py FOLDER`.

A self-test sees a fault only where these pictures change with it, so each is colourful, has no symmetry in space or
between channels, and is textured as photos are: gradients, noise at several scales (1/f), hard edges, thin strokes.
All arithmetic is on integers or exact in OpenCV, so that the pixels come out the same on every machine. Changing a
picture invalidates the golden samples of every artifact made so far: add a picture under a new name instead.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Canvas = NDArray[np.int16]
Colour = tuple[int, int, int]


def gradient(height: int, width: int, top: Colour, bottom: Colour, slant: int) -> Canvas:
    """From `top` to `bottom`, leaning sideways by `slant` per mille; (height, width, 3)."""
    rows, columns = np.mgrid[:height, :width]
    share = np.clip(1000 * rows // height + slant * columns // width, 0, 1000)[:, :, None]
    return ((np.array(top) * (1000 - share) + np.array(bottom) * share) // 1000).astype(np.int16)


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: int, amplitude: int) -> Canvas:
    """Smooth coloured noise in -amplitude..amplitude whose grains are `cell` pixels wide."""
    lattice = rng.integers(0, 256, (shape[0] // cell + 2, shape[1] // cell + 2, 3), np.uint8)
    smooth = cv2.resize(lattice, shape[::-1], interpolation=cv2.INTER_LINEAR_EXACT).astype(np.int16)
    return (smooth - 128) * amplitude // 128


def texture(rng: np.random.Generator, shape: tuple[int, int], strength: int) -> Canvas:
    """1/f noise: halving the grain halves the amplitude."""
    octaves = (noise(rng, shape, cell, strength * cell // 64) for cell in (64, 32, 16, 8))
    return sum(octaves, np.zeros((*shape, 3), np.int16))


def disc(canvas: Canvas, centre: tuple[int, int], radius: int, colour: Colour, shade: int = 0) -> None:
    """A ball at (x, y), lit from the upper left by `shade` grey levels."""
    rows, columns = np.mgrid[: canvas.shape[0], : canvas.shape[1]]
    dx, dy = columns - centre[0], rows - centre[1]
    inside = dx * dx + dy * dy <= radius * radius
    light = (-(dx + dy) * shade // (2 * radius))[:, :, None]
    canvas[inside] = (np.array(colour) + light)[inside]


def polygon(canvas: Canvas, corners: list[tuple[int, int]], colour: Colour) -> None:
    """A convex polygon of (x, y) corners, clockwise."""
    rows, columns = np.mgrid[: canvas.shape[0], : canvas.shape[1]]
    inside = np.ones(canvas.shape[:2], bool)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        inside &= (x1 - x0) * (rows - y0) - (y1 - y0) * (columns - x0) >= 0
    canvas[inside] = colour


def writing(
    rng: np.random.Generator, canvas: Canvas, corner: tuple[int, int], glyphs: int, size: int, ink: Colour
) -> None:
    """A line of strokes that look like letters: each glyph is three strokes of a 3 × 3 grid."""
    stroke = max(1, size // 8)
    for i in range(glyphs):
        x, y = corner[0] + i * (size + 2 * stroke), corner[1]
        for _ in range(3):
            at = int(rng.integers(0, 3)) * (size - stroke) // 2
            if rng.integers(0, 2):
                canvas[y : y + size, x + at : x + at + stroke] = ink
            else:
                canvas[y + at : y + at + stroke, x : x + size] = ink


def harbour(rng: np.random.Generator) -> Canvas:
    """Landscape, 640 × 480: sky, a low sun at the left, rippled water, boats at the right."""
    canvas = gradient(480, 640, (70, 130, 215), (250, 205, 140), 150)
    disc(canvas, (140, 190), 46, (255, 226, 120), shade=20)
    canvas[270:] = gradient(210, 640, (40, 120, 140), (10, 45, 80), -80)
    for i in range(60):
        y, x, length = 275 + i * 10 // 3, int(rng.integers(0, 600)), int(rng.integers(20, 120))
        canvas[y : y + 1 + i // 20, x : x + length] += np.array((40, 50, 35), np.int16)
    for x, y, sail, hull in ((400, 130, (235, 60, 50), (90, 50, 30)), (540, 200, (245, 240, 225), (200, 30, 90))):
        polygon(canvas, [(x, y), (x + 70, y + 150), (x, y + 150)], sail)
        polygon(canvas, [(x - 40, y + 155), (x + 90, y + 155), (x + 60, y + 190), (x - 15, y + 190)], hull)
        writing(rng, canvas, (x - 20, y + 163), 5, 14, (250, 250, 210))
    return canvas + texture(rng, (480, 640), 26)


def orchard(rng: np.random.Generator) -> Canvas:
    """Portrait, 300 × 451: one leaning tree, red fruit on its left side, a meadow with flowers."""
    canvas = gradient(451, 300, (150, 200, 240), (215, 230, 200), 0)
    canvas[330:] = gradient(121, 300, (120, 160, 50), (60, 95, 20), 300)
    polygon(canvas, [(150, 180), (185, 180), (160, 390), (110, 390)], (95, 62, 38))
    for _ in range(90):
        centre = (int(rng.integers(50, 270)), int(rng.integers(40, 240)))
        shade = int(rng.integers(-25, 26))
        disc(canvas, centre, int(rng.integers(12, 34)), (50 + shade, 115 + shade, 30), shade=40)
    for _ in range(14):
        disc(canvas, (int(rng.integers(50, 150)), int(rng.integers(90, 240))), 9, (215, 35, 30), shade=60)
    for _ in range(40):
        disc(canvas, (int(rng.integers(0, 300)), int(rng.integers(350, 451))), 3, (250, 220, 60))
    return canvas + texture(rng, (451, 300), 60)


def market(rng: np.random.Generator) -> Canvas:
    """Odd landscape, 512 × 333: striped awnings over crates of fruit, a price board with writing."""
    canvas = gradient(333, 512, (190, 170, 150), (120, 95, 80), -200)
    for i in range(16):
        colour = ((225, 225, 215), (30, 140, 90), (220, 220, 225), (190, 40, 110))[i % 4]
        polygon(canvas, [(i * 32, 20), (i * 32 + 32, 20), (i * 32 + 12, 105), (i * 32 - 20, 105)], colour)
    fruit = ((240, 140, 20), (200, 30, 40), (120, 180, 40), (245, 210, 60), (110, 40, 120))
    for crate, colour in enumerate(fruit):
        left = 12 + crate * 72
        canvas[190:310, left : left + 64] = (130 - 8 * crate, 85, 45)
        for i in range(20):
            disc(canvas, (left + 10 + i % 4 * 15, 200 + i // 4 * 19 + crate * 2), 9 - crate, colour, shade=70)
    canvas[130:310, 390:500] = (25, 45, 40)
    for line in range(7):
        writing(rng, canvas, (400, 140 + line * 24), 6 - line % 3, 12, (230, 235, 220))
    return canvas + texture(rng, (333, 512), 44)


def signal(rng: np.random.Generator) -> Canvas:
    """Square, 240 × 240: a road sign with an arrow to the right, a lamp, a chequered wall."""
    canvas = gradient(240, 240, (235, 120, 60), (60, 40, 110), 400)
    rows, columns = np.mgrid[150:240, :240]
    canvas[150:][(rows // 9 + columns // 14) % 2 == 0] = (205, 190, 80)
    polygon(canvas, [(20, 40), (150, 25), (160, 120), (25, 130)], (25, 70, 190))
    polygon(canvas, [(40, 70), (105, 70), (105, 92), (40, 92)], (245, 245, 245))
    polygon(canvas, [(105, 52), (148, 81), (105, 110)], (245, 245, 245))
    canvas[60:230, 190:202] = (40, 42, 48)
    disc(canvas, (196, 52), 30, (40, 42, 48))
    disc(canvas, (196, 52), 22, (40, 220, 130), shade=60)
    writing(rng, canvas, (30, 160), 7, 16, (20, 20, 30))
    return canvas + texture(rng, (240, 240), 56)


SCENES: tuple[Callable[[np.random.Generator], Canvas], ...] = (harbour, orchard, market, signal)


def draw(scene: Callable[[np.random.Generator], Canvas]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB; the same pixels at every call."""
    # Steps of 8 levels keep each PNG below 80 kB.
    return (np.clip(scene(np.random.default_rng(SCENES.index(scene))), 0, 255) // 8 * 8).astype(np.uint8)


if __name__ == "__main__":
    for scene in SCENES:
        Image.fromarray(draw(scene)).save(Path(sys.argv[1]) / f"{scene.__name__}.png", optimize=True)
