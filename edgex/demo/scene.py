"""A sheet in a place: background, shadow, light and the hand that holds it, before the camera sees them."""

from dataclasses import dataclass

import cv2
import numpy as np

from edgex.demo import body
from edgex.demo.background import make_background
from edgex.demo.paper import Sheet
from edgex.demo.pose import Pose
from edgex.demo.texture import Canvas, Colour, Field, clouds, gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What stays the same while sheets come and go.

    Attributes:
        background: (H, W, 3) RGB light.
        light: (H, W) how bright the light is, about 1.
        paper_gain: How much light the sheet gets, next to its background.
        shadow: Strength of the sheet's shadow behind it, 0..1.
        shadow_offset: x, y of that shadow in shares of the picture's height.
        skin: Colour of the hand.
        hand_seed: Decides where hands hold the sheet; None where no hand is seen.
    """

    background: Canvas
    light: Field
    paper_gain: float
    shadow: float
    shadow_offset: tuple[float, float]
    skin: Colour
    hand_seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grip:
    """Where a hand holds a sheet: a place on its edge, the unit vector from there into it, and the hand's own seed."""

    edge: tuple[float, float]
    inward: tuple[float, float]
    seed: int


def make_scene(height: int, width: int, rng: np.random.Generator) -> Scene:
    """Choose a place, its light and a person."""
    return Scene(
        background=make_background(height, width, rng),
        light=_choose_light((height, width), rng),
        paper_gain=float(rng.uniform(0.62, 1.08)),
        shadow=float(rng.uniform(0.0, 0.65)),
        shadow_offset=(float(rng.normal(0, 0.04)), float(rng.uniform(-0.01, 0.07))),
        skin=body.choose_skin(rng),
        hand_seed=int(rng.integers(2**31)) if rng.random() < 0.6 else None,
    )


def compose(scene: Scene, sheet: Sheet | None, pose: Pose | None) -> Canvas:
    """The light that reaches the camera, (H, W, 3) RGB; without a sheet, the empty place."""
    canvas = scene.background.copy()
    if sheet is not None and pose is not None:
        grips = _grips(scene, sheet, pose)
        size = float(min(sheet.picture.shape[:2])) * pose.scale
        for grip in grips:
            palm = (grip.edge[0] - grip.inward[0] * 0.05 * size, grip.edge[1] - grip.inward[1] * 0.05 * size)
            body.paint_arm(canvas, palm, size, np.random.default_rng([grip.seed, 0]), skin=scene.skin)
        _lay_sheet(canvas, scene, sheet, pose)
        for grip in grips:
            rng = np.random.default_rng([grip.seed, 1])
            body.paint_fingers(canvas, grip.edge, grip.inward, size, rng, skin=scene.skin)
    canvas *= scene.light[:, :, None]
    return canvas


def _choose_light(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    light = 1.0 + rng.uniform(0.0, 0.4) * gradient(shape, rng.uniform(0, 2 * np.pi))
    if rng.random() < 0.25:  # A lamp's pool.
        y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        at_x, at_y = rng.uniform(-1, 1, 2)
        light = light + rng.uniform(0.1, 0.5) * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / rng.uniform(0.1, 0.9))
    if rng.random() < 0.3:  # The edge of somebody's shadow, soft or hard, straight or not.
        line = gradient(shape, rng.uniform(0, 2 * np.pi)) + 0.15 * rng.random() * clouds(shape, rng, octaves=2)
        edge = np.clip((line - rng.uniform(-0.5, 0.6)) / rng.uniform(0.02, 0.4), 0.0, 1.0)
        light = light * (1.0 - rng.uniform(0.15, 0.5) * edge)
    return np.asarray(light, np.float32)


def _lay_sheet(canvas: Canvas, scene: Scene, sheet: Sheet, pose: Pose) -> None:
    """Put the sheet, and before it its shadow, on the canvas in place."""
    height, width = canvas.shape[:2]
    corners = pose.corners(sheet)
    slack = 3 + abs(pose.bend) * sheet.picture.shape[0] * pose.scale
    left, top = np.clip((corners.min(axis=0) - slack).astype(int), 0, [width, height])
    right, bottom = np.clip((corners.max(axis=0) + slack).astype(int) + 1, 0, [width, height])
    if right - left < 2 or bottom - top < 2:
        return
    seen = _view(sheet, pose, (int(left), int(top), int(right), int(bottom)))
    cover = seen[:, :, 3]
    if scene.shadow > 0.05:
        _cast_shadow(canvas, scene, cover, (int(left), int(top)))
    part = canvas[top:bottom, left:right]
    part *= 1.0 - cover[:, :, None]
    part += seen[:, :, :3] * np.float32(scene.paper_gain)


def _view(sheet: Sheet, pose: Pose, box: tuple[int, int, int, int]) -> Canvas:
    """The sheet in the picture's box (left, top, right, bottom): RGB times cover, and cover, as four channels."""
    left, top, right, bottom = box
    inverse = np.linalg.inv(pose.matrix(sheet)).astype(np.float32)
    x = np.arange(left, right, dtype=np.float32)[None, :]
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    u, v, w = (inverse[row, 0] * x + inverse[row, 1] * y + inverse[row, 2] for row in range(3))
    u, v = u / w, v / w
    height, width = sheet.picture.shape[:2]
    shade = sheet.picture
    if pose.bend:
        # A sheet that sags between two hands: its rows follow half a wave, and its slope takes or gives light.
        v = v + np.float32(pose.bend * height) * np.sin(u * np.float32(np.pi / width))
        slope = np.cos(np.arange(width, dtype=np.float32) * np.float32(np.pi / width))
        shade = shade * (1.0 + np.float32(3.0 * pose.bend) * slope)[None, :, None]
    if pose.scale < 0.7:  # Fewer pixels than the sheet has: blur first, or thin lines flicker.
        shade = np.asarray(cv2.blur(shade, (round(1 / pose.scale),) * 2), np.float32)
    opaque = cv2.cvtColor(shade, cv2.COLOR_RGB2RGBA)
    seen = cv2.remap(opaque, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(seen, np.float32)


def _cast_shadow(canvas: Canvas, scene: Scene, cover: Field, corner: tuple[int, int]) -> None:
    height, width = canvas.shape[:2]
    left, top = (at + offset * height for at, offset in zip(corner, scene.shadow_offset, strict=True))
    whole = cv2.warpAffine(cover, np.array([[1, 0, left], [0, 1, top]]), (width, height))
    soft = max(1, round(0.02 * height)) * 2 + 1
    whole = np.asarray(cv2.blur(cv2.blur(whole, (soft, soft)), (soft, soft)), np.float32)
    canvas *= (1.0 - scene.shadow * whole)[:, :, None]


def _grips(scene: Scene, sheet: Sheet, pose: Pose) -> list[_Grip]:
    """One or two hands at places on the sheet's edges, in the picture; none in a scene without hands."""
    if scene.hand_seed is None:
        return []
    # From the scene's own seed: the hands stay where they are on the sheet from one frame of a film to the next.
    rng = np.random.default_rng(scene.hand_seed)
    corners = pose.corners(sheet)
    grips = []
    for edge in rng.permutation(4)[: int(rng.integers(1, 3))]:
        start, end = corners[edge], corners[(edge + 1) % 4]
        along = (end - start) / max(1e-6, float(np.hypot(*(end - start))))
        x, y = start + (end - start) * rng.uniform(0.2, 0.8)
        inward = (float(-along[1]), float(along[0]))
        grips.append(_Grip(edge=(float(x), float(y)), inward=inward, seed=int(rng.integers(2**31))))
    return grips
