"""What is drawn: each sign as the strokes of a hand, in a unit box, before any pen or paper."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgex.demo.texture import pick, smooth_line

Path = NDArray[np.float32]
"""(P, 2) points x, y; the unit box is −1..1 with y downwards."""

NOTHING = "nothing"
STEP = 0.04  # Distance of neighbouring points on a stroke: short enough for curves, long enough to be quick.


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The strokes of one sign.

    Attributes:
        strokes: In the order in which a hand makes them.
        outline: The closed contour that may be filled in; None where the sign is made of lines only.
        filled: Strokes' own closed parts that are always filled, as an arrow's solid head.
    """

    strokes: tuple[Path, ...]
    outline: Path | None = None
    filled: tuple[Path, ...] = ()


def draw_sign(sign: str, rng: np.random.Generator) -> Drawing:
    """Draw one sign as a hand would: another shape, angle and tremor each time, within what the sign still means.

    Args:
        sign: One of `SIGNS` other than `NOTHING`.
        rng: Decides everything.

    Returns:
        Strokes within about −1.1..1.1.

    Raises:
        KeyError: If the sign is unknown.
    """
    drawing = SHAPES[sign](rng)
    most_tilt = UPRIGHT.get(sign, np.pi)
    angle = rng.normal(0.0, most_tilt / 2) if most_tilt < np.pi else rng.uniform(-np.pi, np.pi)
    turn = _rotation(float(np.clip(angle, -most_tilt, most_tilt))) @ np.diag(rng.uniform(0.86, 1.0, 2))
    tremor = rng.uniform(0.008, 0.035)

    def by_hand(path: Path) -> Path:
        return tremble((path @ turn.T).astype(np.float32), tremor, rng)

    outline = None if drawing.outline is None else by_hand(drawing.outline)
    # The strokes around a fillable contour are that contour: the same tremor must move the ink and its fill.
    strokes = tuple(
        outline if outline is not None and stroke is drawing.outline else by_hand(stroke) for stroke in drawing.strokes
    )
    return Drawing(strokes=strokes, outline=outline, filled=tuple(by_hand(path) for path in drawing.filled))


def tremble(path: Path, height: float, rng: np.random.Generator) -> Path:
    """Move a stroke's points as an unsteady hand does: slow drift, a little fast shake; resampled to `STEP`."""
    fine = resample(path, STEP)
    knots = max(3, int(len(fine) * STEP * 2.5))
    drift = np.stack([smooth_line(len(fine), knots, rng) for _ in range(2)], axis=1)
    shake = np.stack([smooth_line(len(fine), knots * 3, rng) for _ in range(2)], axis=1)
    return (fine + height * (drift + 0.3 * shake)).astype(np.float32)


def resample(path: Path, step: float) -> Path:
    """The same polyline with a point every `step`; its ends stay."""
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    places = np.linspace(0.0, lengths[-1], max(2, int(lengths[-1] / step) + 1))
    return np.stack([np.interp(places, lengths, path[:, axis]) for axis in range(2)], axis=1).astype(np.float32)


def _rotation(angle_rad: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, -sin], [sin, cos]])


def _points(*xy: tuple[float, float]) -> Path:
    return np.array(xy, np.float32)


def _closed(corners: Path, rng: np.random.Generator) -> Drawing:
    """A contour drawn in one go, from any corner and either way round, that ends a little early or late."""
    ring = np.roll(corners, -int(rng.integers(len(corners))), axis=0)
    ring = ring[::-1] if rng.random() < 0.5 else ring
    closed = np.concatenate([ring, ring[:1]])
    if rng.random() < 0.5:
        return Drawing(strokes=(closed,), outline=closed)
    miss = rng.uniform(-0.06, 0.12)
    late = closed[-1] + (closed[1] - closed[0]) * miss if miss > 0 else closed[-1] + (closed[-2] - closed[-1]) * -miss
    return Drawing(strokes=(np.concatenate([closed[:-1] if miss < 0 else closed, late[None]]).astype(np.float32),))


def _sides(corners: Path, rng: np.random.Generator) -> Drawing:
    """A contour drawn side by side, each stroke a little too long or too short."""
    strokes = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        before, after = rng.uniform(-0.04, 0.12, 2)
        strokes.append(np.stack([start - (end - start) * before, end + (end - start) * after]).astype(np.float32))
    return Drawing(strokes=tuple(strokes))


def _polygon(corners: Path, rng: np.random.Generator, *, jitter: float) -> Drawing:
    moved = (corners + rng.normal(0.0, jitter, corners.shape)).astype(np.float32)
    return _sides(moved, rng) if len(corners) <= 4 and rng.random() < 0.3 else _closed(moved, rng)


def _regular(corners: int, radius: float = 1.0) -> Path:
    angles = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    return (radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def _circle(rng: np.random.Generator) -> Drawing:
    start, late = rng.uniform(0, 2 * np.pi), rng.uniform(-0.12, 0.5) * (rng.random() < 0.7)
    angles = np.linspace(start, start + 2 * np.pi + late, 64)
    # A hand's circle ends on another radius than it began with.
    radius = 1.0 + 0.05 * smooth_line(64, 6, rng) + np.linspace(0.0, rng.uniform(-0.08, 0.08), 64)
    ring = (radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)
    return Drawing(strokes=(ring,), outline=ring)


def _square(rng: np.random.Generator) -> Drawing:
    return _polygon(_points((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)), rng, jitter=0.05)


def _triangle(rng: np.random.Generator) -> Drawing:
    return _polygon(_regular(3) + np.array([0.0, 0.2], np.float32), rng, jitter=0.09)


def _heart(rng: np.random.Generator) -> Drawing:
    t = np.linspace(0.0, 2 * np.pi, 64)
    x = np.abs(np.sin(t)) ** rng.uniform(2.2, 3.2) * np.sign(np.sin(t))
    dip = rng.uniform(0.22, 0.4)
    y = -(0.8 * np.cos(t) - dip * np.cos(2 * t) - 0.13 * np.cos(3 * t) - 0.05 * np.cos(4 * t)) - 0.1
    ring = np.stack([x, y], axis=1).astype(np.float32)
    return Drawing(strokes=(ring,), outline=ring)


def _star(rng: np.random.Generator) -> Drawing:
    if rng.random() < 0.4:  # The star of one line that crosses itself.
        lines = (_regular(5)[[0, 2, 4, 1, 3]] + rng.normal(0, 0.06, (5, 2))).astype(np.float32)
        return Drawing(strokes=_closed(lines, rng).strokes)
    corners = np.empty((10, 2), np.float32)
    corners[0::2] = _regular(5)
    corners[1::2] = (_regular(5) @ _rotation(np.pi / 5).T) * rng.uniform(0.36, 0.52)
    return _polygon(corners, rng, jitter=0.04)


def _cross(rng: np.random.Generator) -> Drawing:
    if rng.random() < 0.22:  # A plus with a contour, as on a first-aid box.
        w = rng.uniform(0.2, 0.38)
        corner = _points((-w, -1), (w, -1), (w, -w))
        ring = np.concatenate([corner @ _rotation(quarter * np.pi / 2).T for quarter in range(4)])
        return _polygon(ring.astype(np.float32), rng, jitter=0.025)
    ends = _points((-1, 0), (1, 0), (0, -1), (0, 1)) + rng.normal(0.0, 0.08, (4, 2)).astype(np.float32)
    return Drawing(strokes=(ends[:2], ends[2:]))


def _arrow(rng: np.random.Generator) -> Drawing:
    kind = pick((("open", 0.5), ("solid", 0.22), ("block", 0.28)), rng)
    head, half = rng.uniform(0.4, 0.8), rng.uniform(0.32, 0.65)
    if kind == "block":
        shaft = half * rng.uniform(0.35, 0.6)
        neck = 1 - head
        ring = [(-1, -shaft), (neck, -shaft), (neck, -half), (1, 0), (neck, half), (neck, shaft), (-1, shaft)]
        return _polygon(_points(*ring), rng, jitter=0.03)
    bow = rng.uniform(-0.12, 0.12) * (rng.random() < 0.5)
    line = _points((-1, 0), (-0.4, bow), (0.3, bow), (1 - 0.5 * head * (kind == "solid"), 0))
    tips = _points((1 - head, -half), (1, 0), (1 - head, half)) + rng.normal(0.0, 0.04, (3, 2)).astype(np.float32)
    if kind == "solid":
        return Drawing(strokes=(line,), filled=(tips,))
    return Drawing(strokes=(line, tips) if rng.random() < 0.5 else (line, tips[:2], tips[1:]))


SHAPES: dict[str, Callable[[np.random.Generator], Drawing]] = {
    "arrow": _arrow,
    "circle": _circle,
    "cross": _cross,
    "heart": _heart,
    "square": _square,
    "star": _star,
    "triangle": _triangle,
}
# How far a sign may be turned, radians, where a turn would make it odd; the others may stand at any angle.
UPRIGHT = {"heart": 0.8}

SIGNS: tuple[str, ...] = tuple(sorted([*SHAPES, NOTHING]))
"""Every class of the demo; `NOTHING` is a scene that shows none of the others."""
