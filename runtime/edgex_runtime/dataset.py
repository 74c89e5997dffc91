"""A folder of photos, one folder a class: what training, calibration and evaluation read."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgex_runtime.errors import DatasetError
from edgex_runtime.image import SUFFIXES, is_image_file

TRAIN_NAMES = ("train",)
VAL_NAMES = ("val", "valid", "validation", "test")

_LAYOUT = "put photos into one folder a class, as in photos/cat/1.jpg and photos/dog/1.jpg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One file and the index of its class in `Dataset.labels`."""

    path: Path
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Photos of two classes or more.

    Attributes:
        root: The folder they were found in.
        labels: The class folders' names, sorted by code point, on every system alike.
        files: Sorted by class, then by path below the class folder.
        skipped: Files that stand among them and are no pictures by their suffix, hidden ones left out.
    """

    root: Path
    labels: tuple[str, ...]
    files: tuple[Photo, ...]
    skipped: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def counts(self) -> tuple[int, ...]:
        """How many photos each class has, in the order of `labels`."""
        found = Counter(photo.label for photo in self.files)
        return tuple(found[label] for label in range(len(self.labels)))

    def content_hashes(self) -> tuple[str, ...]:
        """The sha256 of each file's bytes, in the order of `files`; reads them all.

        Raises:
            DatasetError: If a file cannot be read any more.
        """
        return tuple(_sha256(photo.path) for photo in self.files)

    def fingerprint(self) -> str:
        """One sha256 for the whole set, whatever the files' names, places and order; reads them all.

        Raises:
            DatasetError: If a file cannot be read any more.
        """
        return fingerprint_of(self.content_hashes())


def scan(root: Path) -> Dataset:
    """List the photos of a folder that holds one folder a class; subfolders and symlinks are followed.

    Raises:
        DatasetError: If the folder is missing or empty, holds one class only, a class has no picture, or what it holds
            are ``train`` and ``val`` folders rather than classes.
    """
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing of that name"
        raise DatasetError(f"{root}: want a folder of photos, found {found}: {_LAYOUT}")
    entries = sorted(_visible(root), key=lambda path: path.name)
    folders = [entry for entry in entries if entry.is_dir()]
    _check_classes(root, [folder.name for folder in folders])
    files: list[Photo] = []
    skipped = [entry for entry in entries if not entry.is_dir()]
    for label, folder in enumerate(folders):
        pictures, others = _split_pictures(folder)
        if not pictures:
            raise DatasetError(
                f"{folder}: want a picture of class {folder.name!r}, found none among {len(others)} files: "
                f"add some ({' '.join(sorted(SUFFIXES))}) or remove the folder"
            )
        files += [Photo(path=path, label=label) for path in pictures]
        skipped += others
    return Dataset(
        root=root, labels=tuple(folder.name for folder in folders), files=tuple(files), skipped=tuple(skipped)
    )


def split_folders(root: Path) -> tuple[Path | None, Path | None]:
    """The ``train`` and the ``val`` (``valid``, ``validation``, ``test``) folder inside `root`, or None."""
    return _first_folder(Path(root), TRAIN_NAMES), _first_folder(Path(root), VAL_NAMES)


def overlap(a: Dataset, b: Dataset) -> tuple[Photo, ...]:
    """The photos of `a` whose very bytes also stand in `b`, under any name; reads both.

    Raises:
        DatasetError: If a file cannot be read any more.
    """
    known = frozenset(b.content_hashes())
    return tuple(photo for photo, digest in zip(a.files, a.content_hashes(), strict=True) if digest in known)


def stratified(dataset: Dataset, count: int, rng: np.random.Generator) -> Dataset:
    """Draw photos without replacement, each class in its share of the whole (and at least once, where `count` allows).

    Args:
        dataset: To draw from.
        count: How many, 1 to `len(dataset)`.
        rng: Decides which; the same state draws the same photos.

    Returns:
        The drawn photos under the same labels, in the order of `dataset.files`.

    Raises:
        DatasetError: If there are not that many.
    """
    if not 1 <= count <= len(dataset):
        raise DatasetError(f"{dataset.root}: want {count} photos, found {len(dataset)}: ask for 1 to {len(dataset)}")
    chosen: set[int] = set()
    members = [
        [i for i, photo in enumerate(dataset.files) if photo.label == label] for label in range(len(dataset.labels))
    ]
    for indices, share in zip(members, _shares(dataset.counts(), count), strict=True):
        chosen.update(rng.permutation(indices)[:share].tolist())
    return replace(dataset, files=tuple(photo for i, photo in enumerate(dataset.files) if i in chosen))


def fingerprint_of(hashes: Iterable[str]) -> str:
    """One sha256 for a set of content hashes, whatever their order."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def _shares(sizes: tuple[int, ...], count: int) -> list[int]:
    """Divide `count` in proportion to `sizes` by largest remainders; none is left out while there is one for each."""
    total = sum(sizes)
    shares = [size * count // total for size in sizes]
    remainders = [size * count % total for size in sizes]
    for i in sorted(range(len(sizes)), key=lambda i: (-remainders[i], i))[: count - sum(shares)]:
        shares[i] += 1
    while count >= len(sizes) and 0 in shares:
        shares[shares.index(max(shares))] -= 1
        shares[shares.index(0)] += 1
    return shares


def _check_classes(root: Path, names: list[str]) -> None:
    if not names:
        raise DatasetError(f"{root}: want one folder a class, found no folder: {_LAYOUT}")
    if set(names) <= {*TRAIN_NAMES, *VAL_NAMES}:
        raise DatasetError(
            f"{root}: want one folder a class, found {' and '.join(names)}, which hold the classes: "
            f"give {root / names[0]}"
        )
    if len(names) == 1:
        raise DatasetError(f"{root}: want two classes or more, found only {names[0]!r}: {_LAYOUT}")


def _visible(folder: Path) -> Iterator[Path]:
    """What a person sees in a folder; systems leave hidden files and ``__MACOSX`` behind."""
    try:
        yield from (entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.name != "__MACOSX")
    except OSError as error:
        raise DatasetError(f"{folder}: want a folder that can be listed, found: {error}: check permissions") from error


def _split_pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """(pictures, other files) below a folder, each sorted."""
    files = sorted(_walk(folder, frozenset()), key=lambda path: path.relative_to(folder).parts)
    pictures = [path for path in files if is_image_file(path) and path.is_file()]
    known = frozenset(pictures)
    return pictures, [path for path in files if path not in known]


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """Every file below a folder; a symlink back to a folder above it is not entered again."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in _visible(folder):
        if entry.is_dir():
            yield from _walk(entry, above | {real})
        else:
            yield entry


def _first_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: want a readable photo, found: {error}: was it moved meanwhile?") from error
