"""A sheet of paper with something on it, seen straight on: colour, ruling, creases, writing, the sign itself."""

from dataclasses import dataclass

import cv2
import numpy as np

from edgex.demo import marker
from edgex.demo.doodle import draw_doodle, draw_writing
from edgex.demo.sign import NOTHING, Drawing, draw_sign
from edgex.demo.texture import Canvas, Colour, clouds, colour_near, pick, smooth_noise

STOCKS: tuple[tuple[Colour, float], ...] = (
    ((0.97, 0.97, 0.97), 0.5),  # printer paper
    ((0.93, 0.94, 0.97), 0.12),  # bluish white
    ((0.96, 0.93, 0.85), 0.12),  # cream
    ((0.97, 0.9, 0.45), 0.08),  # a yellow note
    ((0.76, 0.6, 0.42), 0.08),  # kraft
    ((0.86, 0.86, 0.84), 0.06),  # recycled
    ((0.95, 0.75, 0.78), 0.02),  # a pink note
    ((0.72, 0.86, 0.95), 0.02),  # a blue note
)
# Height over width; a person turns a sheet as it comes to hand.
FORMATS = ((1.414, 0.4), (0.707, 0.25), (1.0, 0.17), (1.29, 0.1), (1.7, 0.08))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One side of a sheet.

    Attributes:
        picture: (H, W, 3) RGB light under even white light.
        centre: x, y in pixels of what is drawn on it.
        radius_px: Of the circle around that; a blank sheet's is where a sign would be.
    """

    picture: Canvas
    centre: tuple[float, float]
    radius_px: float


def make_sheet(sign: str, height_px: int, rng: np.random.Generator) -> Sheet:
    """Draw a sheet of `height_px` rows with `sign` on it; for `NOTHING` a blank one, or one with other marks."""
    width_px = max(16, round(height_px / pick(FORMATS, rng)))
    shape = (height_px, width_px)
    picture = np.empty((*shape, 3), np.float32)
    picture[:] = colour_near(pick(STOCKS, rng), 0.025, rng)
    _rule(picture, rng)
    radius = 0.5 * min(shape) * rng.uniform(0.55, 0.95)
    room = np.maximum(np.array([width_px, height_px]) / 2 - radius, 0) * 0.7
    x, y = np.array([width_px, height_px]) / 2 + rng.uniform(-1, 1, 2) * room
    if rng.random() < (0.5 if sign == NOTHING else 0.14):
        _write(picture, (float(x), float(y)), 0.0 if sign == NOTHING else radius, rng)
    drawing = _what_to_draw(sign, rng)
    if drawing is not None:
        pen = marker.choose_marker(2 * radius, rng)
        placed = _place(drawing, (float(x), float(y)), radius)
        marker.stain(picture, marker.draw(placed, shape, pen, rng), pen, rng)
    _crease(picture, rng)
    return Sheet(picture=np.clip(picture, 0.0, 1.0), centre=(float(x), float(y)), radius_px=float(radius))


def _what_to_draw(sign: str, rng: np.random.Generator) -> Drawing | None:
    if sign != NOTHING:
        return draw_sign(sign, rng)
    return draw_doodle(rng) if rng.random() < 0.4 else None


def _place(drawing: Drawing, centre: tuple[float, float], radius: float) -> Drawing:
    # The unit box holds signs whose corners reach √2; they shall stay inside the circle, about.
    scale, origin = np.float32(radius * 0.92), np.array(centre, np.float32)
    return Drawing(
        strokes=tuple(path * scale + origin for path in drawing.strokes),
        outline=None if drawing.outline is None else drawing.outline * scale + origin,
        filled=tuple(path * scale + origin for path in drawing.filled),
    )


def _rule(picture: Canvas, rng: np.random.Generator) -> None:
    """Print a notepad's lines, a grid or dots."""
    kind = pick((("blank", 0.6), ("lines", 0.22), ("grid", 0.15), ("dots", 0.03)), rng)
    if kind == "blank":
        return
    height, width = picture.shape[:2]
    pitch = max(4.0, height / rng.uniform(14, 34))
    tint = 1.0 - rng.uniform(0.1, 0.4) * (1.0 - np.asarray(colour_near((0.45, 0.6, 0.85), 0.15, rng), np.float32))
    rows = np.arange(rng.uniform(0.5, 3) * pitch, height - 1, pitch).astype(int)
    columns = np.arange(pitch / 2, width - 1, pitch).astype(int)
    if kind == "dots":
        picture[np.ix_(rows, columns)] *= tint
        return
    picture[rows] *= tint
    if kind == "grid":
        picture[:, columns] *= tint
    elif rng.random() < 0.5:  # The margin of a school notebook.
        picture[:, int(width * rng.uniform(0.08, 0.16))] *= np.array([0.95, 0.6, 0.65], np.float32)


def _write(picture: Canvas, centre: tuple[float, float], keep_clear_px: float, rng: np.random.Generator) -> None:
    """Write a few thin lines; a sign's middle, `keep_clear_px` around `centre`, stays clear of their first."""
    height, width = picture.shape[:2]
    size = height * rng.uniform(0.018, 0.045)
    pen = marker.Marker(colour=colour_near((0.15, 0.15, 0.25), 0.12, rng), width_px=1.2, opacity=0.8, unevenness=0.3)
    left, top = rng.uniform(0.04, 0.5) * width, rng.uniform(0.05, 0.85) * height
    if keep_clear_px and abs(top - centre[1]) < keep_clear_px * 0.8:
        top = min(height * 0.95, centre[1] + keep_clear_px)
    ink = np.zeros((height, width), np.uint8)
    for line in draw_writing((0.95 * width - left) / size, rng):
        marker.stroke(ink, (line * size + [left, top]).astype(np.float32), pen, rng)
    marker.stain(picture, ink, pen, rng)


def _crease(picture: Canvas, rng: np.random.Generator) -> None:
    """Shade what a sheet goes through: an uneven surface, folds, a crumple."""
    shape = picture.shape[:2]
    shade = 1.0 + np.float32(rng.uniform(0.0, 0.04)) * clouds(shape, rng, cells=2, octaves=2)
    for _ in range(int(rng.choice(4, p=(0.55, 0.25, 0.15, 0.05)))):
        shade *= _fold(shape, rng)
    if rng.random() < 0.18:  # Light on a crumpled surface is the slope of its height.
        height = smooth_noise(shape, (5, 5), rng) + 0.4 * smooth_noise(shape, (11, 11), rng)
        slope = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=5)
        shade += slope * np.float32(rng.uniform(0.02, 0.07) / max(1e-3, float(slope.std())))
    picture *= np.clip(shade, 0.5, 1.15)[:, :, None]


def _fold(shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    """A straight fold: one side a little darker, a bright or dark line along it."""
    straight = rng.random() < 0.7
    angle = rng.choice((0.0, np.pi / 2)) + rng.normal(0, 0.02) if straight else rng.uniform(0, np.pi)
    y, x = np.ogrid[: shape[0], : shape[1]]
    px, py = rng.uniform(0.25, 0.75) * shape[1], rng.uniform(0.25, 0.75) * shape[0]
    distance = ((x - px) * np.cos(angle) + (y - py) * np.sin(angle)).astype(np.float32)
    reach = np.float32(max(shape) * rng.uniform(0.05, 0.4))
    side = np.tanh(distance / 1.5) * np.exp(-np.abs(distance) / reach) * np.float32(rng.uniform(-0.08, 0.08))
    line = np.exp(-((distance / 1.2) ** 2)) * np.float32(rng.uniform(-0.15, 0.06))
    fold: Canvas = (1.0 + side + line).astype(np.float32)
    return fold
