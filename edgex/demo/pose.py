"""Where a sheet is held: the map between points of the sheet and pixels of the picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgex.demo.paper import Sheet

EYE = 2.4  # Distance of the camera in sheets' widths: near enough that a tilted sheet's far edge looks shorter.


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """How a sheet stands before the camera.

    Attributes:
        x: Column of the picture at which the centre of what is drawn stands.
        y: Its row.
        scale: Pixels of the picture a pixel of the sheet.
        turn_rad: In the picture's plane.
        tilt_x_rad: Upper edge away from the camera.
        tilt_y_rad: Right edge away from the camera.
        bend: How far the paper's middle sags, as a share of its height.
    """

    x: float
    y: float
    scale: float
    turn_rad: float = 0.0
    tilt_x_rad: float = 0.0
    tilt_y_rad: float = 0.0
    bend: float = 0.0

    def matrix(self, sheet: Sheet) -> NDArray[np.float64]:
        """(3, 3) homography from the sheet's x, y, 1 to the picture's, for a sheet that is not bent."""
        angles = [self.turn_rad, self.tilt_x_rad, self.tilt_y_rad]
        cos, sin = np.cos(angles), np.sin(angles)
        in_plane = np.array([[cos[0], -sin[0], 0], [sin[0], cos[0], 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, cos[1], -sin[1]], [0, sin[1], cos[1]]])
        about_y = np.array([[cos[2], 0, sin[2]], [0, 1, 0], [-sin[2], 0, cos[2]]])
        spin = about_x @ about_y @ in_plane * self.scale
        distance = EYE * max(sheet.picture.shape[:2]) * self.scale
        depth = np.array([spin[2, 0] / distance, spin[2, 1] / distance, 1.0])
        rows = [
            np.array([spin[0, 0], spin[0, 1], 0.0]) + self.x * depth,
            np.array([spin[1, 0], spin[1, 1], 0.0]) + self.y * depth,
            depth,
        ]
        to_centre = np.array([[1, 0, -sheet.centre[0]], [0, 1, -sheet.centre[1]], [0, 0, 1]])
        return np.asarray(np.stack(rows) @ to_centre, np.float64)

    def project(self, sheet: Sheet, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 2) points x, y of the sheet → (N, 2) pixels of the picture; the bend is left out."""
        at = np.column_stack([points, np.ones(len(points))]) @ self.matrix(sheet).T
        projected: NDArray[np.float64] = at[:, :2] / at[:, 2:]
        return projected

    def corners(self, sheet: Sheet) -> NDArray[np.float64]:
        """(4, 2) pixels of the sheet's corners, clockwise from the upper left one."""
        height, width = sheet.picture.shape[:2]
        return self.project(sheet, np.array([[0, 0], [width, 0], [width, height], [0, height]], float))


def choose_pose(sheet: Sheet, height: int, width: int, rng: np.random.Generator, *, radius_px: float) -> Pose:
    """Hold a sheet so that what is drawn on it is about `radius_px` large and lies in the picture's central square.

    A classifier sees that square, so at most a sixth of the sign's circle may leave it; the sheet itself may.
    """
    room = max(0.5 * min(height, width) - 0.84 * radius_px, 0.0)
    near = 0.0 if rng.random() < 0.15 else 1.0
    x, y = rng.uniform(-room, room, 2) * near
    upright = rng.random() < 0.75
    return Pose(
        x=width / 2 + float(x),
        y=height / 2 + float(y),
        scale=radius_px / sheet.radius_px,
        turn_rad=float(rng.normal(0.0, 0.22) if upright else rng.uniform(-np.pi, np.pi) * 0.5),
        tilt_x_rad=float(np.clip(rng.normal(0.0, 0.28), -0.75, 0.75)),
        tilt_y_rad=float(np.clip(rng.normal(0.0, 0.28), -0.75, 0.75)),
        bend=float(rng.normal(0.0, 0.035) * (rng.random() < 0.6)),
    )
