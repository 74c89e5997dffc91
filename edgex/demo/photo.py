"""One photo of a hand-drawn sign, from nothing but a random generator: the demo's stand-in for a newcomer's photos."""

import numpy as np
from numpy.typing import NDArray

from edgex.demo.body import paint_hand
from edgex.demo.camera import choose_camera, choose_motion
from edgex.demo.paper import make_sheet
from edgex.demo.pose import choose_pose
from edgex.demo.scene import compose, make_scene
from edgex.demo.sign import NOTHING, SIGNS


def draw_photo(sign: str, rng: np.random.Generator, *, height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    """Draw a photo-like picture of a sheet that shows `sign`, or of a scene that shows none.

    Args:
        sign: One of `SIGNS`.
        rng: Decides everything: the same state gives the same picture.
        height: Rows.
        width: Columns.

    Returns:
        (height, width, 3) RGB, 0..255, C-contiguous. The sign lies in the central square, whole but for a sixth.

    Raises:
        ValueError: If the sign is unknown.
    """
    if sign not in SIGNS:
        raise ValueError(f"sign: want one of {', '.join(SIGNS)}, got {sign!r}")
    scene = make_scene(height, width, rng)
    sheet = pose = None
    if sign != NOTHING or rng.random() < 0.7:
        side = min(height, width)
        radius = 0.5 * side * float(np.exp(rng.uniform(np.log(0.42), np.log(0.95))))
        # The sheet is drawn at about the size at which it will be seen.
        sheet = make_sheet(sign, round(np.clip(3.4 * radius, 80, 1.6 * side)), rng)
        pose = choose_pose(sheet, height, width, rng, radius_px=radius)
    elif rng.random() < 0.35:
        paint_hand(scene.background, rng)  # The scene is this photo's own.
    light = compose(scene, sheet, pose)
    return choose_camera(height, rng).shoot(light, rng, motion_px=choose_motion(height, rng))
