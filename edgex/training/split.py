"""Which photo trains and which one measures: decided once by content, written to split.json, held to on `--resume`."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgex_runtime.dataset import Dataset, scan, split_folders
from edgex_runtime.errors import BadInputError, DatasetError

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One photo of one fold; `label` is its index in `Split.labels`, `sha256` that of the file's content."""

    path: Path
    label: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A photo that is in the folder and in no fold, and why."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The photos of a run.

    Attributes:
        root: The folder that was given.
        labels: Class names, sorted: the order of the logits.
        train: What is learnt from.
        val: What is measured on; shares no photo with `train`.
        left_out: Photos that are in neither.
    """

    root: Path
    labels: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """What split.json holds; paths are relative to the root, with forward slashes."""
        return {
            "schema": SCHEMA,
            "labels": list(self.labels),
            "train": [self._entry(sample) for sample in self.train],
            "val": [self._entry(sample) for sample in self.val],
            "left_out": [{"path": self._relative(item.path), "why": item.why} for item in self.left_out],
        }

    def _entry(self, sample: Sample) -> dict[str, str]:
        return {
            "path": self._relative(sample.path),
            "label": self.labels[sample.label],
            "sha256": sample.sha256,
        }

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def make_split(root: Path, *, val_share: float, seed: int) -> Split:
    """Divide a folder of photos, by its own train and val folders where it has them.

    A photo that stands in both folds, byte for byte, is left out of train: what was learnt by heart measures nothing.

    Raises:
        DatasetError: If a folder is missing or empty, has one class only or a class too small to divide, or if train
            and val have different classes.
    """
    train_root, val_root = split_folders(root)
    if train_root is None and val_root is None:
        whole = scan(root)
        train, val = _stratify(_samples(whole), whole.labels, val_share=val_share, seed=seed)
        labels = whole.labels
    elif train_root is None or val_root is None:
        lacking = "train" if train_root is None else "val"
        raise DatasetError(f"{root}: want train/ and val/ or neither, {lacking}/ is missing")
    else:
        train_set, val_set = scan(train_root), scan(val_root)
        _check_same_classes(train_set, val_set)
        train, val, labels = _samples(train_set), _samples(val_set), train_set.labels
    measured = {sample.sha256: sample.path for sample in val}
    doubles = [sample for sample in train if sample.sha256 in measured]
    return Split(
        root=root,
        labels=labels,
        train=tuple(sample for sample in train if sample.sha256 not in measured),
        val=tuple(val),
        left_out=tuple(
            LeftOut(
                path=double.path, why=f"the same photo as {measured[double.sha256].relative_to(root).as_posix()} in val"
            )
            for double in doubles
        ),
    )


def check_classes(split: Split) -> None:
    """Every class needs a photo in both folds.

    Raises:
        DatasetError: Naming the classes that have none left, after unreadable and doubled photos are gone.
    """
    for fold, samples in (("train", split.train), ("val", split.val)):
        counts = Counter(sample.label for sample in samples)
        bare = [label for index, label in enumerate(split.labels) if not counts[index]]
        if bare:
            why = "; ".join(f"{item.path.name}: {item.why}" for item in split.left_out[:3])
            raise DatasetError(
                f"{split.root}: want a readable photo of every class in {fold}, found none of {', '.join(bare)}"
                + (f" ({len(split.left_out)} left out, {why})" if split.left_out else "")
            )


def check_unchanged(split: Split, written: Path) -> None:
    """Hold a resumed run to the photos that it began with.

    Raises:
        BadInputError: Naming what differs between `split` and the split.json that the run wrote.
    """
    then, now = json.loads(written.read_text(encoding="utf-8")), split.to_plain()
    if then["labels"] != now["labels"]:
        raise BadInputError(f"--resume: the run's classes were {then['labels']}, the data's are {now['labels']}")
    for fold in ("train", "val"):
        before, after = ({item["path"]: item["sha256"] for item in side[fold]} for side in (then, now))
        differing = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        if differing:
            raise BadInputError(
                f"--resume: {len(differing)} photos in {fold} are new, gone or changed since the run began, first "
                f"{differing[0]}: give the data back as it was, or begin a new run with --overwrite or another -o"
            )


def _check_same_classes(train: Dataset, val: Dataset) -> None:
    if train.labels != val.labels:
        only_train = sorted(set(train.labels) - set(val.labels))
        only_val = sorted(set(val.labels) - set(train.labels))
        raise DatasetError(
            f"want the same classes in {train.root} and {val.root}; "
            f"only in train: {', '.join(only_train) or 'none'}; only in val: {', '.join(only_val) or 'none'}"
        )


def _samples(dataset: Dataset) -> list[Sample]:
    return [
        Sample(path=photo.path, label=photo.label, sha256=sha256)
        for photo, sha256 in zip(dataset.files, dataset.content_hashes(), strict=True)
    ]


def _stratify(
    samples: Sequence[Sample], labels: Sequence[str], *, val_share: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Hold out the same share of every class.

    The draw is over contents in the order of their hashes: names, folders' order and copies do not change it.
    """
    rng = np.random.default_rng(seed)
    held_out: set[str] = set()
    for index, label in enumerate(labels):
        contents = sorted({sample.sha256 for sample in samples if sample.label == index})
        if len(contents) < 2:
            raise DatasetError(
                f"class {label!r}: want 2 different photos or more, to train on and to measure on; got 1"
            )
        count = min(len(contents) - 1, max(1, math.floor(len(contents) * val_share + 0.5)))
        held_out.update(contents[position] for position in rng.permutation(len(contents))[:count])
    folds: dict[Literal["train", "val"], list[Sample]] = defaultdict(list)
    for sample in samples:
        folds["val" if sample.sha256 in held_out else "train"].append(sample)
    return folds["train"], folds["val"]
