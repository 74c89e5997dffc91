"""What a folder of photos is, and what is refused before hours go into it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgex_runtime.dataset import Dataset, Photo, fingerprint_of, overlap, scan, split_folders, stratified
from edgex_runtime.errors import DatasetError


def make(root: Path, *names: str) -> Path:
    """Files of different bytes each; `scan` goes by names and never decodes."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def relative(dataset: Dataset) -> list[tuple[str, str]]:
    return [(dataset.labels[photo.label], photo.path.relative_to(dataset.root).as_posix()) for photo in dataset.files]


def test_labels_are_the_sorted_folders_and_files_follow_them(tmp_path: Path) -> None:
    dataset = scan(make(tmp_path, "dog/b.jpg", "cat/z.PNG", "dog/a.jpeg", "Zebra/1.webp"))
    assert dataset.labels == ("Zebra", "cat", "dog")
    assert relative(dataset) == [
        ("Zebra", "Zebra/1.webp"),
        ("cat", "cat/z.PNG"),
        ("dog", "dog/a.jpeg"),
        ("dog", "dog/b.jpg"),
    ]
    assert len(dataset) == 4
    assert dataset.counts() == (1, 1, 2)


def test_subfolders_belong_to_their_class(tmp_path: Path) -> None:
    dataset = scan(make(tmp_path, "cat/indoor/1.jpg", "cat/2.jpg", "dog/1.jpg"))
    assert dataset.counts() == (2, 1)


def test_other_files_are_named_and_hidden_ones_ignored(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg", "readme.txt", "dog/notes.txt", "loose.jpg")
    make(tmp_path, ".git/x.jpg", "cat/._1.jpg", "dog/.DS_Store", "__MACOSX/1.jpg")
    dataset = scan(tmp_path)
    assert len(dataset) == 2
    assert [path.relative_to(tmp_path).as_posix() for path in dataset.skipped] == [
        "loose.jpg",
        "readme.txt",
        "dog/notes.txt",
    ]


def test_symlinks_are_followed_but_not_round_in_circles(tmp_path: Path) -> None:
    store = make(tmp_path / "store", "1.jpg", "deep/2.jpg")
    root = make(tmp_path / "photos", "dog/1.jpg")
    (root / "cat").symlink_to(store)
    (store / "deep" / "again").symlink_to(store)
    (root / "dog" / "2.jpg").symlink_to(store / "1.jpg")
    (root / "dog" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    dataset = scan(root)
    assert dataset.counts() == (2, 2)
    assert [path.name for path in dataset.skipped] == ["gone.jpg"]


def test_the_same_folder_gives_the_same_dataset(tmp_path: Path) -> None:
    names = [f"{label}/{i}.jpg" for label in "ab" for i in range(20)]
    forward, backward = make(tmp_path / "x", *names), make(tmp_path / "y", *reversed(names))
    assert relative(scan(forward)) == relative(scan(backward))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "found no folder: put photos into one folder a class"),
        (("loose.jpg",), "found no folder"),
        (("cat/1.jpg",), "want two classes or more, found only 'cat'"),
        (("cat/1.jpg", "dog/notes.txt"), "want a picture of class 'dog', found none among 1 files"),
        (("cat/1.jpg", "dog/.hidden.jpg"), "want a picture of class 'dog', found none among 0 files"),
        (("train/cat/1.jpg", "val/cat/1.jpg"), "found train and val, which hold the classes: give .*train"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        scan(make(tmp_path, *names))


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "file.jpg")
    with pytest.raises(DatasetError, match="found nothing of that name"):
        scan(tmp_path / "gone")
    with pytest.raises(DatasetError, match="found a file"):
        scan(tmp_path / "file.jpg")


@pytest.mark.parametrize("val", ["val", "valid", "validation", "test"])
def test_split_folders_are_found(tmp_path: Path, val: str) -> None:
    make(tmp_path, "train/cat/1.jpg", f"{val}/cat/2.jpg")
    assert split_folders(tmp_path) == (tmp_path / "train", tmp_path / val)


def test_a_folder_without_split_folders_says_so(tmp_path: Path) -> None:
    assert split_folders(make(tmp_path, "cat/1.jpg", "test")) == (None, None)


def test_val_goes_before_test(tmp_path: Path) -> None:
    make(tmp_path, "test/cat/1.jpg", "val/cat/1.jpg")
    assert split_folders(tmp_path) == (None, tmp_path / "val")


def test_the_fingerprint_is_of_contents_alone(tmp_path: Path) -> None:
    root = make(tmp_path / "a", "cat/1.jpg", "cat/2.jpg", "dog/1.jpg")
    before = scan(root).fingerprint()
    (root / "cat" / "1.jpg").rename(root / "cat" / "9.jpg")
    assert scan(root).fingerprint() == before
    (root / "cat" / "9.jpg").write_bytes(b"retouched")
    assert scan(root).fingerprint() != before


def test_a_photo_that_stands_twice_counts_twice(tmp_path: Path) -> None:
    once = scan(make(tmp_path, "cat/1.jpg", "dog/1.jpg"))
    fingerprint = once.fingerprint()
    (tmp_path / "dog" / "2.jpg").write_bytes((tmp_path / "dog" / "1.jpg").read_bytes())
    assert scan(tmp_path).fingerprint() != fingerprint


def test_the_fingerprint_of_known_bytes_is_known(tmp_path: Path) -> None:
    # It stands in contracts: to change it is to orphan the fingerprints in every artifact.
    dataset = scan(make(tmp_path, "cat/1.jpg", "dog/1.jpg"))
    assert dataset.content_hashes() == (
        "634a07bf9defd6c861cc043be42a0ef06adc873a5d01377f5d59bf3e7c7486e9",
        "b68d8d0abf37c390e8836870f50414da8d50bbb9c267983ec706871e6c9b006e",
    )
    assert dataset.fingerprint() == fingerprint_of(dataset.content_hashes())
    assert dataset.fingerprint() == "9f2385cfe547578877b4cfc60da52487545ffee37373bcbc54d82b04c409be9c"


def test_a_photo_that_vanished_is_named(tmp_path: Path) -> None:
    dataset = scan(make(tmp_path, "cat/1.jpg", "dog/1.jpg"))
    (tmp_path / "dog" / "1.jpg").unlink()
    with pytest.raises(DatasetError, match=r"dog/1\.jpg: want a readable photo"):
        dataset.fingerprint()


def test_overlap_finds_the_same_photo_under_another_name(tmp_path: Path) -> None:
    a = scan(make(tmp_path / "a", "cat/1.jpg", "cat/2.jpg", "dog/1.jpg"))
    make(tmp_path / "b", "cat/x.jpg", "dog/y.jpg")
    (tmp_path / "b" / "dog" / "y.jpg").write_bytes((tmp_path / "a" / "cat" / "2.jpg").read_bytes())
    assert [photo.path.name for photo in overlap(a, scan(tmp_path / "b"))] == ["2.jpg"]
    assert overlap(scan(tmp_path / "b"), a)[0].path.name == "y.jpg"


def dataset_of(*sizes: int) -> Dataset:
    labels = tuple(f"class {label}" for label in range(len(sizes)))
    files = [Photo(path=Path(f"{label}/{i}"), label=label) for label, size in enumerate(sizes) for i in range(size)]
    return Dataset(root=Path("photos"), labels=labels, files=tuple(files))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(sizes=st.lists(st.integers(1, 60), min_size=2, max_size=8), data=st.data())
def test_a_stratified_draw_has_each_class_in_its_share(sizes: list[int], data: st.DataObject) -> None:
    dataset = dataset_of(*sizes)
    count = data.draw(st.integers(1, len(dataset)))
    drawn = stratified(dataset, count, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn.files)) == count
    assert drawn.labels == dataset.labels
    assert [photo for photo in dataset.files if photo in set(drawn.files)] == list(drawn.files)
    if count >= len(sizes):
        assert min(drawn.counts()) >= 1
    shares = zip(drawn.counts(), sizes, strict=True)
    # Largest remainders are off by less than one photo; a class lifted to its one photo costs others at most one each.
    assert all(got <= size and got - count * size / len(dataset) < 1 for got, size in shares if got > 1)


def test_a_stratified_draw_follows_its_generator() -> None:
    dataset = dataset_of(30, 50)
    draws = [stratified(dataset, 10, np.random.default_rng(seed)).files for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("count", [0, -1, 81])
def test_more_photos_than_there_are_cannot_be_drawn(count: int) -> None:
    with pytest.raises(DatasetError, match=f"want {count} photos, found 80"):
        stratified(dataset_of(30, 50), count, np.random.default_rng(0))


@pytest.mark.shared
def test_the_flowers_are_five_classes(shared: Path) -> None:
    train, val = split_folders(shared / "data" / "flowers")
    assert train is not None
    assert val is not None
    dataset = scan(val)
    assert dataset.labels == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert len(dataset) == 551
    assert not overlap(dataset, scan(train))
