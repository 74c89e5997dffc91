"""People as a webcam sees them: blurred heads and shoulders behind the sheet, hands and fingers that hold it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex.demo.texture import Canvas, Colour, colour_near, grey, mix, pick, scaled

SKINS: tuple[tuple[Colour, float], ...] = (
    ((0.93, 0.76, 0.66), 0.3),
    ((0.85, 0.64, 0.5), 0.3),
    ((0.66, 0.46, 0.33), 0.2),
    ((0.42, 0.28, 0.2), 0.2),
)
HAIRS: tuple[tuple[Colour, float], ...] = (
    ((0.08, 0.06, 0.05), 0.5),
    ((0.35, 0.22, 0.12), 0.33),
    ((0.7, 0.6, 0.45), 0.17),
)
Point = tuple[float, float]
SHIFT = 3


def choose_skin(rng: np.random.Generator) -> Colour:
    """A skin's colour."""
    return colour_near(pick(SKINS, rng), 0.04, rng)


def paint_person(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint head, hair, neck and clothed shoulders in place, somewhere a person would sit."""
    height, width = canvas.shape[:2]
    head = height * rng.uniform(0.14, 0.3)
    x, y = width * rng.uniform(0.15, 0.85), height * rng.uniform(0.15, 0.5)
    skin = choose_skin(rng)
    hair = colour_near(pick(HAIRS, rng), 0.05, rng)
    cloth = colour_near(grey(0.1, 0.75, rng), 0.25, rng)
    _ellipse(canvas, (x, y + 3.0 * head), (2.1 * head, 1.9 * head), cloth, rng)
    capsule(canvas, (x, y), (x, y + 1.5 * head), head * 0.42, scaled(skin, 0.85))
    if rng.random() < 0.85:
        _ellipse(canvas, (x, y - 0.2 * head), (0.98 * head, 1.15 * head), hair, rng)
    _ellipse(canvas, (x, y + 0.08 * head), (0.76 * head, head), skin, rng)
    dark = scaled(skin, 0.35)
    for side in (-0.32, 0.32):
        _ellipse(canvas, (x + side * head, y - 0.1 * head), (0.12 * head, 0.06 * head), dark, rng)
    lips = (0.6 * skin[0], 0.3 * skin[1], 0.3 * skin[2])
    _ellipse(canvas, (x, y + 0.55 * head), (0.26 * head, 0.06 * head), lips, rng)


def paint_arm(canvas: Canvas, hand: Point, sheet_px: float, rng: np.random.Generator, *, skin: Colour) -> None:
    """Paint an arm from below the picture up to `hand`, in place: what is behind the sheet's edge."""
    height = canvas.shape[0]
    elbow = (hand[0] + rng.normal(0, 0.15) * height, height * 1.2)
    sleeve = colour_near(grey(0.1, 0.75, rng), 0.22, rng)
    wrist = (0.75 * hand[0] + 0.25 * elbow[0], 0.75 * hand[1] + 0.25 * elbow[1])
    width = sheet_px * rng.uniform(0.09, 0.14)
    capsule(canvas, wrist, elbow, width, sleeve if rng.random() < 0.6 else skin)
    capsule(canvas, hand, wrist, 0.85 * width, skin)


def paint_fingers(
    canvas: Canvas, edge: Point, inward: Point, sheet_px: float, rng: np.random.Generator, *, skin: Colour
) -> None:
    """Paint a thumb, or up to four fingers, that reach over a sheet's edge in place.

    Args:
        canvas: What they are painted on.
        edge: x, y of the place on the sheet's edge.
        inward: Unit vector from there into the sheet.
        sheet_px: The sheet's size on the picture; hands are sized by it.
        rng: Decides everything else.
        skin: Their colour.
    """
    thick = sheet_px * rng.uniform(0.03, 0.05)
    count = 1 if rng.random() < 0.6 else int(rng.integers(2, 5))
    across = (-inward[1], inward[0])
    slant = rng.normal(0, 0.35)
    for finger in range(count):
        shift = (finger - (count - 1) / 2) * thick * 2.1
        base = np.array(edge) + np.array(across) * shift - np.array(inward) * thick * 2.5
        reach = thick * rng.uniform(1.2, 2.8)
        tip = np.array(edge) + np.array(across) * (shift + slant * reach) + np.array(inward) * reach
        capsule(canvas, tuple(base), tuple(tip), thick, skin)
        nail = tip - (tip - base) / max(1e-6, float(np.hypot(*(tip - base)))) * thick * 0.25
        if count == 1:
            _ellipse(canvas, tuple(nail), (0.45 * thick, 0.5 * thick), scaled(skin, 1.1), rng)


def paint_hand(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint an open hand in place that holds nothing: palm, spread fingers, arm."""
    height, width = canvas.shape[:2]
    size = height * rng.uniform(0.08, 0.16)
    x, y = width * rng.uniform(0.25, 0.75), height * rng.uniform(0.4, 0.75)
    skin, turn = choose_skin(rng), rng.normal(0, 0.4)
    paint_arm(canvas, (x, y), 8 * size, rng, skin=skin)
    _ellipse(canvas, (x, y), (size, 1.15 * size), skin, rng)
    for spread, reach in ((-1.1, 1.7), (-0.4, 2.3), (-0.05, 2.5), (0.3, 2.3), (0.65, 1.9)):
        if rng.random() < 0.8:
            angle = spread + turn
            tip = (x + size * reach * np.sin(angle), y - size * reach * np.cos(angle))
            capsule(canvas, (x, y), tip, size * 0.26, colour_near(skin, 0.02, rng))


def capsule(canvas: Canvas, start: Point, end: Point, radius: float, colour: Colour) -> None:
    """Paint a rounded limb in place, lit from above and darker at its edges."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    thick = max(1, round(2 * radius))
    cv2.line(mask, _fixed(start), _fixed(end), 255, thick, cv2.LINE_AA, SHIFT)
    _lay(canvas, mask, radius, colour)


def _ellipse(canvas: Canvas, centre: Point, axes: Point, colour: Colour, rng: np.random.Generator) -> None:
    mask = np.zeros(canvas.shape[:2], np.uint8)
    box = (max(1, round(axes[0] * 2**SHIFT)), max(1, round(axes[1] * 2**SHIFT)))
    cv2.ellipse(mask, _fixed(centre), box, float(rng.normal(0, 4)), 0, 360, 255, -1, cv2.LINE_AA, SHIFT)
    _lay(canvas, mask, min(axes), colour)


def _lay(canvas: Canvas, mask: NDArray[np.uint8], radius: float, colour: Colour) -> None:
    """Colour what the mask covers, its rim darker: the mask, blurred, stands for the roundness of the body."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return
    part = np.s_[y : y + height, x : x + width]
    flat = np.asarray(mask[part] / 255, np.float32)
    reach = max(1, int(radius * 0.5)) * 2 + 1
    round_shade = np.asarray(cv2.blur(flat, (reach, reach)), np.float32) if radius > 1.5 else flat
    tone: Canvas = np.asarray(colour, np.float32) * (0.62 + 0.38 * round_shade)[:, :, None]
    mix(canvas[part], tone, flat)


def _fixed(point: Point) -> tuple[int, int]:
    return round(point[0] * 2**SHIFT), round(point[1] * 2**SHIFT)
