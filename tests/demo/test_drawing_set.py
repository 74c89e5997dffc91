"""The folder of drawn photos: whole or absent, balanced, the same from the same seed, no photo in two places."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgex.demo.dataset import MANIFEST, Progress, write_dataset
from edgex.demo.sign import SIGNS
from edgex.demo.stream import StreamSettings, stream_frames
from edgex_runtime.errors import DatasetError


def draw(
    root: Path, *, seed: int = 0, train: int = 3, val: int = 2, workers: int = 1, progress: Progress | None = None
) -> Path:
    return write_dataset(root, train_per_class=train, val_per_class=val, seed=seed, workers=workers, progress=progress)


def contents(root: Path) -> dict[str, str]:
    files = sorted(root.rglob("*.jpg"))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(image, np.uint8)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "photos")


def test_a_folder_a_class_balanced_in_train_and_val(drawn: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        assert sorted(folder.name for folder in (drawn / split).iterdir()) == list(SIGNS)
        assert {len(list((drawn / split / sign).glob("*.jpg"))) for sign in SIGNS} == {count}


def test_photos_are_readable_jpegs(drawn: Path) -> None:
    for path in drawn.rglob("*.jpg"):
        assert pixels(path).shape == (240, 320, 3)


def test_same_seed_same_bytes_however_many_processes(drawn: Path, tmp_path: Path) -> None:
    assert contents(draw(tmp_path / "again", workers=2)) == contents(drawn)


def test_more_photos_keep_the_earlier_ones(drawn: Path, tmp_path: Path) -> None:
    larger = contents(draw(tmp_path / "more", train=4, val=2))
    assert contents(drawn).items() <= larger.items()


def test_no_photo_twice_in_train_val_or_stream(drawn: Path) -> None:
    """By pixels too: frames are no JPEG files, so their hashes could never meet those of the files."""
    files = list(drawn.rglob("*.jpg"))
    photos = {pixels(path).tobytes() for path in files}
    settings = StreamSettings(seed=0, shots=8, shot_s=0.5, fps=10, height=240, width=320)
    frames = [np.ascontiguousarray(frame.image[:, :, ::-1]).tobytes() for frame in stream_frames(settings)]
    assert len(set(contents(drawn).values())) == len(files) == len(photos)
    assert len(photos | set(frames)) == len(files) + len(frames)


def test_another_seed_shares_no_photo(drawn: Path, tmp_path: Path) -> None:
    assert not set(contents(drawn).values()) & set(contents(draw(tmp_path / "other", seed=1)).values())


def test_a_second_call_leaves_a_finished_set_alone(tmp_path: Path) -> None:
    root = draw(tmp_path / "photos", train=1, val=1)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")}
    reports: list[tuple[int, int]] = []
    draw(root, train=1, val=1, progress=lambda done, total: reports.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")} == before
    assert reports == [(16, 16)]


def test_other_settings_replace_the_set_whole(tmp_path: Path) -> None:
    root = draw(tmp_path / "photos", train=2, val=1)
    draw(root, train=1, val=1)
    assert len(list(root.rglob("*.jpg"))) == 16
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_set_that_lost_a_photo_is_drawn_again(tmp_path: Path) -> None:
    root = draw(tmp_path / "photos", train=1, val=1)
    before = contents(root)
    (root / "train" / "star" / "00000.jpg").unlink()
    assert contents(draw(root, train=1, val=1)) == before


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_leaves_nothing_and_the_next_one_starts_afresh(tmp_path: Path, workers: int) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    root = tmp_path / "photos"
    with pytest.raises(KeyboardInterrupt):
        draw(root, train=1, val=1, progress=interrupt, workers=workers)
    assert list(tmp_path.iterdir()) == []
    assert len(contents(draw(root, train=1, val=1))) == 16


def test_an_interrupted_run_keeps_the_set_that_stood_before(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    root = draw(tmp_path / "photos", train=1, val=1)
    before = contents(root)
    with pytest.raises(KeyboardInterrupt):
        draw(root, train=2, val=1, progress=interrupt)
    assert contents(root) == before


def test_what_a_killed_run_left_behind_is_not_taken_for_a_set(tmp_path: Path) -> None:
    leftover = tmp_path / ".photos.partial" / "train" / "star"
    leftover.mkdir(parents=True)
    (leftover / "00099.jpg").write_bytes(b"half a photo")
    root = draw(tmp_path / "photos", train=1, val=1)
    assert not (root / "train" / "star" / "00099.jpg").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_refuses_a_folder_that_holds_somebody_elses_files(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"want a missing or empty folder.*found holiday\.jpg"):
        draw(tmp_path)
    assert (tmp_path / "holiday.jpg").read_bytes() == b"mine"


def test_refuses_to_replace_a_drawn_set_that_somebody_added_photos_to(tmp_path: Path) -> None:
    root = draw(tmp_path / "photos", train=1, val=1)
    (root / "train" / "star" / "my-own.jpg").write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"found train/star/my-own\.jpg"):
        draw(root, train=2, val=1)
    assert (root / "train" / "star" / "my-own.jpg").read_bytes() == b"mine"


def test_refuses_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").write_text("not a folder")
    with pytest.raises(DatasetError, match=r"found no drawn\.json"):
        draw(tmp_path / "photos")


@pytest.mark.parametrize(("train", "val", "seed"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_refuses_counts_and_seeds_out_of_range(tmp_path: Path, train: int, val: int, seed: int) -> None:
    with pytest.raises(DatasetError, match="want"):
        draw(tmp_path / "photos", train=train, val=val, seed=seed)


def test_progress_rises_to_the_total(tmp_path: Path) -> None:
    reports: list[tuple[int, int]] = []
    draw(tmp_path / "photos", train=2, val=1, progress=lambda done, total: reports.append((done, total)))
    assert reports == sorted(reports)
    assert reports[-1] == (24, 24)


def test_the_manifest_says_what_the_set_is_made_from(drawn: Path) -> None:
    assert '"train_per_class": 3' in (drawn / MANIFEST).read_text(encoding="utf-8")
