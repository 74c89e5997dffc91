"""The film: its track tells the truth frame by frame, and a film that was cut short has none."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgex.demo.sign import NOTHING, SIGNS
from edgex.demo.stream import StreamSettings, Track, read_track, stream_frames, write_stream
from edgex_runtime.errors import BadInputError, SpecError

SMALL = StreamSettings(seed=5, shots=8, shot_s=0.8, fps=10, height=120, width=160)


def test_same_settings_give_the_same_frames() -> None:
    first, again = (list(stream_frames(SMALL)) for _ in range(2))
    assert [frame.sign for frame in first] == [frame.sign for frame in again]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))


def test_every_sign_is_shown_before_any_comes_again() -> None:
    runs = [frame.sign for frame in stream_frames(SMALL)]
    per_shot = [set(runs[start : start + SMALL.shot_frames]) for start in range(0, SMALL.frames, SMALL.shot_frames)]
    main = [next(iter(shown - {None, NOTHING}), NOTHING) for shown in per_shot]
    assert sorted(map(str, main)) == list(SIGNS)


def test_track_has_one_entry_a_frame_of_the_video(tmp_path: Path) -> None:
    track = write_stream(tmp_path / "film.mp4", SMALL)
    video = cv2.VideoCapture(str(tmp_path / "film.mp4"))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == len(track.signs) == SMALL.frames == 64
    assert frames[0].shape == (120, 160, 3)
    assert read_track(tmp_path / "film.json") == track
    drawn = list(stream_frames(SMALL))
    assert track.signs == tuple(frame.sign for frame in drawn)
    # MPEG-4 at this size is off by a few grey levels in the mean; a frame off would be off by tens where a sheet moves.
    for shown, frame in zip(frames, drawn, strict=True):
        assert np.abs(shown[:, :, ::-1].astype(float) - frame.image).mean() < 12


def test_a_held_sign_changes_the_picture_that_an_empty_place_gave() -> None:
    settings = StreamSettings(seed=11, shots=3, shot_s=1.2, fps=10, height=120, width=160)
    frames = list(stream_frames(settings))
    held = [frame for frame in frames if frame.sign not in (None, NOTHING)]
    bare = [frame for frame in frames if frame.sign == NOTHING]
    assert held
    assert bare
    middle = np.s_[30:90, 40:120]
    differences = [np.abs(frame.image[middle].astype(float) - bare[0].image[middle]).mean() for frame in held]
    assert min(differences) > 8


def test_a_sign_that_comes_or_goes_is_not_scored() -> None:
    signs = [frame.sign for frame in stream_frames(SMALL)]
    for before, after in pairwise(signs):
        if before != after and NOTHING not in (before, after):
            assert None in (before, after)


def test_accuracy_counts_the_answered_frames_that_show_something() -> None:
    track = Track(signs=("star", None, "heart", NOTHING), settings=SMALL)
    assert track.accuracy({0: "star", 1: "arrow", 2: "star"}) == (0.5, 2)
    with pytest.raises(BadInputError, match="want frames 0 to 3, got 4"):
        track.accuracy({4: "star"})
    with pytest.raises(BadInputError, match="none of the 1 answered frames"):
        track.accuracy({1: "star"})


def test_an_interrupted_film_leaves_neither_video_nor_track(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_stream(tmp_path / "film.mp4", SMALL, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_track_of_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.json").write_text('{"frames": []}', encoding="utf-8")
    with pytest.raises(SpecError):
        read_track(tmp_path / "film.json")


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 0, "shots": 0}, {"seed": 0, "shot_s": 0.1}])
def test_refuses_settings_that_make_no_film(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInputError, match="stream: want"):
        StreamSettings(**wrong)  # type: ignore[arg-type]
