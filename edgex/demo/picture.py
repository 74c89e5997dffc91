"""One picture of a film that was classified: the middle of each shot, framed green where the answer is right."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex.demo.stream import Track
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import BadInputError

COLUMNS = 4
BORDER_PX = 6
# BGR, as OpenCV encodes it.
RIGHT = (128, 222, 74)
WRONG = (80, 80, 240)

Picture = NDArray[np.uint8]


def write_picture(video: Path, track: Track, answers: dict[int, str], path: Path) -> None:
    """Write a contact sheet as PNG.

    Args:
        video: The annotated film, one picture for each of its frames.
        track: What the film shows.
        answers: Frame index → what the model said.
        path: Where to.

    Raises:
        BadInputError: If the video cannot be read.
    """
    chosen = _middles(track)
    tiles = [
        cv2.copyMakeBorder(
            picture,
            *(BORDER_PX,) * 4,
            cv2.BORDER_CONSTANT,
            value=RIGHT if answers.get(index) == track.signs[index] else WRONG,
        )
        for index, picture in zip(chosen, _frames(video, chosen), strict=True)
    ]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[start : start + COLUMNS], axis=1) for start in range(0, len(tiles), COLUMNS)]
    _, data = cv2.imencode(".png", np.concatenate(rows))
    with atomic_write(path) as file:
        file.write(data.tobytes())


def _middles(track: Track) -> list[int]:
    """The middle frame of each shot, when its sheet is held."""
    length = track.settings.shot_frames
    return [shot * length + length // 2 for shot in range(track.settings.shots)]


def _frames(video: Path, wanted: list[int]) -> list[Picture]:
    capture = cv2.VideoCapture(str(video))
    pictures: list[Picture] = []
    try:
        index = 0
        while len(pictures) < len(wanted):
            read, picture = capture.read()
            if not read:
                raise BadInputError(f"{video}: want a video of {wanted[-1] + 1} frames or more, got {index}")
            if index in wanted:
                pictures.append(np.asarray(picture, np.uint8))
            index += 1
    finally:
        capture.release()
    return pictures
