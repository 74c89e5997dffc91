"""A thick marker on paper: strokes become ink, with its pressure, gaps, grain and fill."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex.demo.sign import Drawing, Path
from edgex.demo.texture import Canvas, Colour, colour_near, pick, smooth_line, smooth_noise

Mask = NDArray[np.uint8]
"""(H, W) ink on the paper, 0..255."""

INKS: tuple[tuple[Colour, float], ...] = (
    ((0.05, 0.05, 0.07), 0.45),  # black
    ((0.08, 0.14, 0.55), 0.2),  # blue
    ((0.72, 0.07, 0.1), 0.15),  # red
    ((0.05, 0.42, 0.18), 0.1),  # green
    ((0.4, 0.1, 0.5), 0.04),  # purple
    ((0.85, 0.35, 0.03), 0.03),  # orange
    ((0.3, 0.3, 0.34), 0.03),  # soft pencil
)
SHIFT = 3  # OpenCV takes eighths of a pixel: edges do not jump from point to point.


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """One pen in one hand.

    Attributes:
        colour: Of the ink, on white paper.
        width_px: Of the line at normal pressure.
        opacity: Of the ink, 0..1.
        unevenness: How far pressure and width vary along a stroke, 0..1.
    """

    colour: Colour
    width_px: float
    opacity: float
    unevenness: float


def choose_marker(size_px: float, rng: np.random.Generator) -> Marker:
    """A pen to draw a sign of `size_px` across: a few hundredths to an eighth of the sign is its line's width."""
    return Marker(
        colour=colour_near(pick(INKS, rng), 0.06, rng),
        width_px=max(1.5, size_px * float(np.exp(rng.uniform(np.log(0.03), np.log(0.115))))),
        opacity=float(rng.uniform(0.75, 1.0)),
        unevenness=float(rng.uniform(0.05, 0.5)),
    )


def draw(drawing: Drawing, shape: tuple[int, int], marker: Marker, rng: np.random.Generator) -> Mask:
    """Draw a sign whose points are already pixels of a sheet of `shape` (height, width)."""
    ink = np.zeros(shape, np.uint8)
    if drawing.outline is not None:
        _fill(ink, drawing.outline, marker, rng)
    for solid in drawing.filled:
        cv2.fillPoly(ink, [_fixed(solid)], 235, cv2.LINE_AA, SHIFT)
        stroke(ink, np.concatenate([solid, solid[:1]]), marker, rng)
    twice = rng.random() < 0.15
    for path in drawing.strokes:
        stroke(ink, path, marker, rng)
        if twice:  # The hand goes over the line again, and misses it by a little.
            stroke(ink, (path + rng.normal(0, 0.7 * marker.width_px, 2)).astype(np.float32), marker, rng)
    return ink


def stroke(ink: Mask, path: Path, marker: Marker, rng: np.random.Generator) -> None:
    """Draw one stroke into `ink`; width and pressure drift along it, and a dry pen leaves lighter stretches."""
    count = len(path)
    pressure = 1.0 + marker.unevenness * smooth_line(count, 2 + count // 12, rng)
    widths = np.maximum(1, np.rint(marker.width_px * (0.65 + 0.35 * pressure))).astype(int)
    levels = np.clip(255 * (0.55 + 0.45 * pressure), 90, 255).astype(int)
    points = _fixed(path)
    for i in range(count - 1):
        cv2.line(ink, points[i], points[i + 1], int(levels[i]), int(widths[i]), cv2.LINE_AA, SHIFT)


def stain(paper: Canvas, ink: Mask, marker: Marker, rng: np.random.Generator) -> None:
    """Put ink on paper in place: it takes away light, and the paper's tooth shows through it."""
    height, width = ink.shape
    tooth = 1.0 - rng.uniform(0.0, 0.1) * (1.0 + smooth_noise(ink.shape, (height // 3, width // 3), rng))
    cover = cv2.GaussianBlur(ink, (3, 3), 0.6).astype(np.float32) * np.float32(marker.opacity / 255) * tooth
    paper *= 1.0 - np.clip(cover, 0.0, 1.0)[:, :, None] * (1.0 - np.asarray(marker.colour, np.float32))


def _fill(ink: Mask, outline: Path, marker: Marker, rng: np.random.Generator) -> None:
    kind = pick((("empty", 0.62), ("solid", 0.2), ("hatched", 0.18)), rng)
    if kind == "empty":
        return
    inside = np.zeros_like(ink)
    cv2.fillPoly(inside, [_fixed(outline)], int(rng.integers(190, 256)), cv2.LINE_AA, SHIFT)
    if kind == "hatched":
        lines = np.zeros_like(ink)
        stroke(lines, _zigzag(outline, marker.width_px * rng.uniform(1.0, 2.6), rng), marker, rng)
        inside = np.minimum(inside, lines)
    np.maximum(ink, inside, out=ink)


def _zigzag(outline: Path, spacing: float, rng: np.random.Generator) -> Path:
    """Strokes to and fro across a contour, slanted, `spacing` pixels apart."""
    centre = outline.mean(axis=0)
    reach = float(np.abs(outline - centre).max()) * 1.5
    rows = max(3, int(2 * reach / max(spacing, 1.5)))
    y = np.linspace(-reach, reach, rows) + rng.normal(0.0, 0.15 * spacing, rows)
    x = np.where(np.arange(rows) % 2, reach, -reach)
    angle = rng.uniform(0, np.pi)
    turned = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=1)
    return np.asarray(turned + centre, np.float32)


def _fixed(path: Path) -> NDArray[np.int32]:
    return np.asarray(np.rint(path * 2**SHIFT), np.int32)
