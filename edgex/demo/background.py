"""What stands behind the sheet: walls, desks, shelves, windows, rooms and people, as textures and boxes."""

from collections.abc import Callable

import cv2
import numpy as np

from edgex.demo.body import paint_person
from edgex.demo.texture import (
    Canvas,
    Colour,
    clouds,
    colour_near,
    gradient,
    grey,
    mix,
    pick,
    scaled,
    smooth_line,
    smooth_noise,
)

WOODS: tuple[tuple[Colour, float], ...] = (
    ((0.62, 0.44, 0.27), 0.42),  # pine
    ((0.35, 0.22, 0.13), 0.29),  # walnut
    ((0.82, 0.74, 0.62), 0.29),  # birch
)


def make_background(height: int, width: int, rng: np.random.Generator) -> Canvas:
    """A scene without paper, (height, width, 3) RGB light 0..1, more or less out of focus."""
    canvas = pick(BACKGROUNDS, rng)((height, width), rng)
    if rng.random() < 0.4:
        paint_person(canvas, rng)
    sigma = pick(((0.0, 0.2), (0.012, 0.35), (0.03, 0.3), (0.06, 0.15)), rng) * height * rng.uniform(0.4, 1.0)
    return _blur(np.clip(canvas, 0.0, 1.0), sigma)


def _blur(canvas: Canvas, sigma: float) -> Canvas:
    """A Gaussian blur; a strong one is done on a smaller picture, where it costs a fraction and looks the same."""
    if sigma < 0.4:
        return canvas
    height, width = canvas.shape[:2]
    factor = 2 ** max(0, int(np.log2(sigma / 1.5))) if sigma > 3 else 1
    small = cv2.resize(canvas, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _random_colour(rng: np.random.Generator, *, low: float = 0.05, high: float = 0.95) -> Colour:
    """A colour as rooms have them: mostly greyish."""
    return colour_near(grey(low, high, rng), float(rng.uniform(0.02, 0.17)), rng)


def _flat(shape: tuple[int, int], colour: Colour) -> Canvas:
    canvas = np.empty((*shape, 3), np.float32)
    canvas[:] = colour
    return canvas


def _wall(shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    canvas = _flat(shape, _random_colour(rng, low=0.25))
    rough = smooth_noise(shape, (shape[0] // 3, shape[1] // 3), rng)
    canvas *= (1.0 + rng.uniform(0.02, 0.12) * clouds(shape, rng) + rng.uniform(0, 0.05) * rough)[:, :, None]
    if rng.random() < 0.4:
        _box(canvas, rng, low=0.15, high=0.5)  # A picture, a switch, a door.
    return canvas


def _desk(shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    canvas = _flat(shape, colour_near(pick(WOODS, rng), 0.06, rng))
    along, fine = smooth_noise(shape, (24, 3), rng), smooth_noise(shape, (shape[0] // 2, 6), rng)
    veins = np.sin(rng.uniform(8, 30) * (gradient(shape, np.pi / 2) + 0.12 * along))
    canvas *= (1.0 + 0.06 * veins + 0.08 * along + 0.08 * fine)[:, :, None]
    canvas = np.ascontiguousarray(canvas[:, ::-1] if rng.random() < 0.5 else canvas)
    for _ in range(int(rng.integers(0, 5))):
        _thing(canvas, rng)
    return canvas


def _shelf(shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    """Rows of book spines."""
    height, width = shape
    canvas = _flat(shape, _random_colour(rng, high=0.5))
    row = int(height * rng.uniform(0.2, 0.5))
    for top in range(int(-row * rng.random()), height, row):
        x = 0
        while x < width:
            thick = int(width * rng.uniform(0.02, 0.07)) + 2
            tall = int(row * rng.uniform(0.6, 0.92))
            bottom = top + int(row * 0.94)
            colour = _random_colour(rng, low=0.1, high=0.8)
            cv2.rectangle(canvas, (x, bottom - tall), (x + thick - 2, bottom), colour, -1)
            if rng.random() < 0.5:  # The title's band.
                band = scaled(colour, 1.6)
                cv2.rectangle(canvas, (x, bottom - tall // 2), (x + thick - 2, bottom - tall // 3), band, -1)
            x += thick
    return canvas


def _window(shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    """A room against the light."""
    height, width = shape
    canvas = _wall(shape, rng) * np.float32(rng.uniform(0.3, 0.8))
    x, y = rng.uniform(-0.2, 0.7) * width, rng.uniform(-0.2, 0.4) * height
    w, h = rng.uniform(0.3, 0.8) * width, rng.uniform(0.4, 0.9) * height
    sky = colour_near((0.95, 0.98, 1.0), 0.05, rng)
    cv2.rectangle(canvas, (int(x), int(y)), (int(x + w), int(y + h)), sky, -1)
    frame = _random_colour(rng)
    bar = max(2, int(0.02 * width))
    for part in np.linspace(0, 1, int(rng.integers(2, 4))):
        cv2.line(canvas, (int(x + part * w), int(y)), (int(x + part * w), int(y + h)), frame, bar)
    if rng.random() < 0.3:  # Blinds.
        for stripe in np.arange(y, y + h, max(4.0, 0.05 * height)):
            cv2.line(canvas, (int(x), int(stripe)), (int(x + w), int(stripe)), frame, max(1, bar // 2))
    return canvas + 0.25 * _blur(np.maximum(canvas - 0.7, 0.0), 0.08 * height)


def _room(shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    """Wall, floor, furniture."""
    canvas = _wall(shape, rng)
    floor = int(shape[0] * rng.uniform(0.5, 0.95))
    canvas[floor:] = np.asarray(_random_colour(rng), np.float32)
    for _ in range(int(rng.integers(3, 9))):
        _box(canvas, rng, low=0.1, high=0.6)
    for _ in range(int(rng.integers(0, 4))):
        _thing(canvas, rng)
    return canvas * (1.0 + 0.08 * clouds(shape, rng, cells=4))[:, :, None]


def _fabric(shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    """A jumper, a curtain, a carpet: folds and stripes."""
    canvas = _flat(shape, _random_colour(rng))
    folds = np.sin(rng.uniform(3, 14) * gradient(shape, rng.uniform(0, np.pi)) + 2 * clouds(shape, rng, octaves=2))
    canvas *= (1.0 + rng.uniform(0.05, 0.25) * folds)[:, :, None]
    if rng.random() < 0.4:
        across = gradient(shape, 0.0 if rng.random() < 0.5 else np.pi / 2)
        stripes = np.sin(rng.uniform(20, 70) * across) > rng.uniform(-0.3, 0.8)
        mix(canvas, _random_colour(rng), np.asarray(0.7 * stripes, np.float32))
    return canvas


def _clutter(shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    canvas = _flat(shape, _random_colour(rng))
    for _ in range(int(rng.integers(8, 26))):
        (_thing if rng.random() < 0.6 else _box)(canvas, rng)
    return canvas * (1.0 + 0.1 * clouds(shape, rng, cells=5))[:, :, None]


def _box(canvas: Canvas, rng: np.random.Generator, *, low: float = 0.05, high: float = 0.4) -> None:
    """Furniture, a screen, a book: a slightly turned quadrilateral with a lit top edge."""
    height, width = canvas.shape[:2]
    centre = rng.uniform(0, 1, 2) * [width, height]
    size = rng.uniform(low, high, 2) * [width, height] / 2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size + centre + rng.normal(0, 0.02 * height, (4, 2))
    colour = _random_colour(rng)
    cv2.fillConvexPoly(canvas, corners.astype(np.int32), colour, cv2.LINE_AA)
    light = scaled(colour, 1.3)
    cv2.line(canvas, corners[0].astype(int).tolist(), corners[1].astype(int).tolist(), light, max(1, height // 120))


def _thing(canvas: Canvas, rng: np.random.Generator) -> None:
    """A mug, a pen, a cable, a plant's leaf."""
    height, width = canvas.shape[:2]
    x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
    colour = colour_near(_random_colour(rng), 0.2, rng)
    kind = pick((("mug", 0.4), ("pen", 0.35), ("cable", 0.25)), rng)
    if kind == "mug":
        axes = (int(height * rng.uniform(0.02, 0.12)) + 1, int(height * rng.uniform(0.02, 0.12)) + 1)
        cv2.ellipse(canvas, (x, y), axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        inner = scaled(colour, 0.6)
        cv2.ellipse(canvas, (x, y), (axes[0] * 2 // 3, axes[1] * 2 // 3), 0, 0, 360, inner, -1, cv2.LINE_AA)
    elif kind == "pen":
        angle, reach = rng.uniform(0, 2 * np.pi), height * rng.uniform(0.1, 0.4)
        end = (int(x + reach * np.cos(angle)), int(y + reach * np.sin(angle)))
        cv2.line(canvas, (x, y), end, colour, max(1, int(height * rng.uniform(0.008, 0.03))), cv2.LINE_AA)
    else:
        points = np.stack([smooth_line(40, 6, rng) * width / 3 + x, smooth_line(40, 6, rng) * height / 3 + y], axis=1)
        curve = [points.astype(np.int32)]
        cv2.polylines(
            canvas, curve, isClosed=False, color=colour, thickness=max(1, height // 100), lineType=cv2.LINE_AA
        )


BACKGROUNDS: tuple[tuple[Callable[[tuple[int, int], np.random.Generator], Canvas], float], ...] = (
    (_wall, 0.2),
    (_desk, 0.18),
    (_room, 0.2),
    (_clutter, 0.14),
    (_fabric, 0.1),
    (_shelf, 0.1),
    (_window, 0.08),
)
