"""A video that no photo of the set comes from: sheets are shown, moved, turned and changed before one camera.

The film knows what it shows: beside the video stands a track of the sign in each frame, by which a live run is scored.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex.demo.camera import Camera, choose_camera, smear
from edgex.demo.dataset import STREAM_SPLIT, Progress
from edgex.demo.paper import Sheet, make_sheet
from edgex.demo.pose import Pose, choose_pose
from edgex.demo.scene import Scene, compose, make_scene
from edgex.demo.sign import NOTHING, SIGNS
from edgex_runtime.errors import BadInputError
from edgex_runtime.schema import from_plain, to_plain

SCHEMA_VERSION = 1
SHOTS_A_PLACE = 3  # Then the film cuts to another place: one background would decide the whole score.
MOVE_SHARE = 0.22  # Of a shot's frames, how many bring its sheet in, and as many take it away.


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """What a film is made from.

    Attributes:
        seed: Decides every frame; no photo of a drawn set comes from the same random numbers.
        shots: Sheets that are shown, one after the other: every sign once, in any order, then again.
        shot_s: Seconds a shot.
        fps: Frames a second.
        height: Rows.
        width: Columns.
    """

    seed: int
    shots: int = len(SIGNS)
    shot_s: float = 1.5
    fps: int = 15
    height: int = 360
    width: int = 480

    def __post_init__(self) -> None:
        if self.seed < 0 or self.shots < 1 or self.fps < 1 or self.shot_s * self.fps < 5:
            raise BadInputError(
                f"stream: want a seed of 0 or more, 1 shot or more, and 5 frames a shot or more, got seed {self.seed}, "
                f"{self.shots} shots of {self.shot_s} s at {self.fps} frames a second"
            )

    @property
    def frames(self) -> int:
        """Frames in all."""
        return self.shots * self.shot_frames

    @property
    def shot_frames(self) -> int:
        """Frames of one shot."""
        return round(self.shot_s * self.fps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What a film shows.

    Attributes:
        signs: The sign in each frame; None while a sign comes into view or leaves it, when no answer would be wrong.
        settings: What the film was made from.
        schema: Version of this record.
    """

    signs: tuple[str | None, ...]
    settings: StreamSettings
    schema: int = SCHEMA_VERSION

    def accuracy(self, answers: Mapping[int, str]) -> tuple[float, int]:
        """Share of right answers among the frames that have one, and how many those are.

        Args:
            answers: Frame index, from 0, to the sign that a model saw; a live run may have left frames out.

        Raises:
            BadInputError: If an index is not in the film, or no answered frame shows anything definite.
        """
        strange = [index for index in answers if not 0 <= index < len(self.signs)]
        if strange:
            raise BadInputError(
                f"track: want frames 0 to {len(self.signs) - 1}, got {strange[0]}: is it another film's?"
            )
        scored = [answer == self.signs[index] for index, answer in answers.items() if self.signs[index] is not None]
        if not scored:
            raise BadInputError(f"track: none of the {len(answers)} answered frames shows a sign that is in full view")
        return sum(scored) / len(scored), len(scored)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFrame:
    """One frame: (H, W, 3) uint8 RGB, and the sign that it shows, None in between two."""

    image: NDArray[np.uint8]
    sign: str | None


def stream_frames(settings: StreamSettings) -> Iterator[StreamFrame]:
    """Draw the film frame by frame; equal settings give equal frames."""
    rng = np.random.default_rng([settings.seed, STREAM_SPLIT])
    for number, sign in enumerate(_programme(settings.shots, rng)):
        if number % SHOTS_A_PLACE == 0:
            camera = _mild(choose_camera(settings.height, rng))
            scene = make_scene(settings.height, settings.width, rng)
        yield from _shot(sign, scene, camera, settings, rng)


def write_stream(video: Path, settings: StreamSettings, *, progress: Progress | None = None) -> Track:
    """Write the film as MP4, and its track beside it under the same name with the suffix ``.json``.

    Both take their names when they are whole, the track last: a track that stands belongs to a film that stands.

    Raises:
        BadInputError: If this machine's OpenCV cannot write MP4 there.
    """
    video.parent.mkdir(parents=True, exist_ok=True)
    partial = video.with_name(f".{video.stem}.partial.mp4")
    size = (settings.width, settings.height)
    writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"mp4v"), settings.fps, size)
    if not writer.isOpened():
        raise BadInputError(f"{video}: OpenCV {cv2.__version__} cannot write MP4 here: is the folder writable?")
    signs: list[str | None] = []
    try:
        for frame in stream_frames(settings):
            writer.write(np.ascontiguousarray(frame.image[:, :, ::-1]))
            signs.append(frame.sign)
            if progress:
                progress(len(signs), settings.frames)
        writer.release()
        track = Track(signs=tuple(signs), settings=settings)
        _write_track(video.with_suffix(".json"), track, video, partial)
    finally:
        writer.release()
        partial.unlink(missing_ok=True)
    return track


def read_track(path: Path) -> Track:
    """Read the track that stands beside a film.

    Raises:
        SpecError: If it is no track of this schema version.
    """
    return from_plain(Track, json.loads(path.read_text(encoding="utf-8")), where=str(path))


def _write_track(path: Path, track: Track, video: Path, partial: Path) -> None:
    text = path.with_name(f".{path.name}.partial")
    text.write_text(json.dumps(to_plain(track)) + "\n", encoding="utf-8")
    path.unlink(missing_ok=True)
    partial.replace(video)
    text.replace(path)


def _programme(shots: int, rng: np.random.Generator) -> list[str]:
    """Signs in the order of their shots: every one before any comes again."""
    order: list[str] = []
    while len(order) < shots:
        order += [SIGNS[index] for index in rng.permutation(len(SIGNS))]
    return order[:shots]


def _mild(camera: Camera) -> Camera:
    """A camera that somebody has set up on purpose: no worse than an ordinary webcam in a lit room."""
    return replace(
        camera,
        exposure=float(np.clip(camera.exposure, 0.45, 0.65)),
        noise=min(camera.noise, 0.03),
        blotches=min(camera.blotches, 0.01),
        defocus_px=min(camera.defocus_px, 1.5),
        jpeg_quality=max(camera.jpeg_quality, 75),
    )


def _shot(
    sign: str, scene: Scene, camera: Camera, settings: StreamSettings, rng: np.random.Generator
) -> Iterator[StreamFrame]:
    """One sheet comes from below, is held and moved about, and goes; half the shots of nothing have no sheet at all."""
    height, width = settings.height, settings.width
    sheet = None if sign == NOTHING and rng.random() < 0.5 else make_sheet(sign, round(1.1 * height), rng)
    scene = replace(scene, hand_seed=int(rng.integers(2**31)))
    count = settings.shot_frames
    poses = None if sheet is None else _path(sheet, count, height, width, rng)
    empty = compose(scene, None, None)
    for number in range(count):
        if sheet is None or poses is None:
            yield StreamFrame(image=camera.shoot(empty, rng), sign=NOTHING)
            continue
        pose, before = poses[number], poses[max(0, number - 1)]
        # The shutter is open for a third of the time between frames; what stands still stays sharp.
        motion = ((pose.x - before.x) / 3, (pose.y - before.y) / 3)
        light = empty + smear(compose(scene, sheet, pose) - empty, motion)
        held = MOVE_SHARE <= number / count < 1 - MOVE_SHARE
        yield StreamFrame(image=camera.shoot(light, rng), sign=_truth(sign, sheet, pose, height, held=held))


def _truth(sign: str, sheet: Sheet, pose: Pose, height: int, *, held: bool) -> str | None:
    """What a person would say of a frame: nothing before the sign comes into view, and no answer while it does."""
    out_of_view = pose.y - sheet.radius_px * pose.scale > height
    return NOTHING if sign == NOTHING or out_of_view else sign if held else None


def _path(sheet: Sheet, count: int, height: int, width: int, rng: np.random.Generator) -> list[Pose]:
    """A pose for each frame: in from below the picture, from one held pose to another, and out again."""
    radius = 0.5 * min(height, width) * rng.uniform(0.42, 0.7)
    first, second = (
        choose_pose(sheet, height, width, rng, radius_px=radius * rng.uniform(0.85, 1.15)) for _ in range(2)
    )
    # People turn a sheet a little while they hold it, not upside down.
    second = replace(second, turn_rad=first.turn_rad + float(rng.normal(0.0, 0.25)), bend=first.bend)
    below = height + 1.5 * max(sheet.picture.shape[:2]) * max(first.scale, second.scale)
    moving = max(1, round(MOVE_SHARE * count))
    poses = []
    for number in range(count):
        pose = _between(first, second, _ease((number - moving) / max(1, count - 1 - 2 * moving)))
        away = max(0.0, (moving - number) / moving, (number - (count - 1 - moving)) / moving)
        poses.append(replace(pose, y=pose.y + (below - pose.y) * _ease(away)))
    return poses


def _between(first: Pose, second: Pose, share: float) -> Pose:
    def blend(name: str) -> float:
        start, end = float(getattr(first, name)), float(getattr(second, name))
        return start + (end - start) * share

    return Pose(**{name: blend(name) for name in Pose.__slots__})


def _ease(share: float) -> float:
    """0..1 → 0..1, slow at both ends."""
    inside = min(1.0, max(0.0, share))
    return inside * inside * (3.0 - 2.0 * inside)
