"""Writes the drawn photos as a folder per class: the set that the demo trains, calibrates and evaluates on."""

import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgex.demo.photo import draw_photo
from edgex.demo.sign import SIGNS
from edgex_runtime.errors import DatasetError
from edgex_runtime.schema import to_plain

_LOG = logging.getLogger(__name__)

MANIFEST = "drawn.json"
SCHEMA_VERSION = 1
# Raise it with every change to what is drawn: a set of an older drawing is then drawn anew.
DRAWING = 1
JPEG_QUALITY = 92
# What a set consists of: a folder that holds anything else is somebody's, and is never replaced.
OURS = re.compile(rf"{re.escape(MANIFEST)}|(?:train|val)/[a-z]+/\d{{5}}\.jpg")
BATCH = 16  # Photos a task: long enough that passing it to a process costs nothing, short enough for a smooth bar.

# Second word of every seed, so that no two sets ever share a random stream, whatever the user's seed is.
SPLITS = {"train": 0, "val": 1}
STREAM_SPLIT = 2

Progress = Callable[[int, int], None]
"""Called with (photos done, photos in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnSet:
    """What a set of drawn photos is made from: equal settings, equal photos.

    Attributes:
        train_per_class: Photos a class to train on.
        val_per_class: Photos a class to evaluate on.
        seed: Decides every photo.
        height: Rows of a photo.
        width: Columns.
        labels: Its classes.
        drawing: Version of the drawing code.
        schema: Version of this record.
    """

    train_per_class: int
    val_per_class: int
    seed: int
    height: int = 240
    width: int = 320
    labels: tuple[str, ...] = SIGNS
    drawing: int = DRAWING
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.train_per_class < 1 or self.val_per_class < 1:
            raise DatasetError(
                f"drawn set: want at least 1 photo a class to train and to evaluate on, "
                f"got {self.train_per_class} and {self.val_per_class}"
            )
        if self.seed < 0:
            raise DatasetError(f"drawn set: want a seed of 0 or more, got {self.seed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Some photos of one class, for one process."""

    folder: Path
    split: str
    sign: str
    numbers: range
    settings: DrawnSet

    def paths(self, root: Path) -> list[Path]:
        """The files, one a number."""
        return [root / self.folder / f"{number:05d}.jpg" for number in self.numbers]


def write_dataset(
    root: Path,
    *,
    train_per_class: int,
    val_per_class: int,
    seed: int,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Path:
    """Draw `root`/{train,val}/<sign>/<number>.jpg, or leave the set that already stands there with these settings.

    The photos are drawn in a folder beside `root` that takes its name once it is whole: an interrupted run leaves no
    half set, and what it drew is thrown away.

    Args:
        root: The folder to write; its parents are made.
        train_per_class: Photos of each sign to train on.
        val_per_class: Photos of each sign to evaluate on; no photo stands in both.
        seed: Decides every photo, however many processes draw them.
        progress: Told how far it is.
        workers: Processes that draw; as many as this process may use cores, where None. 1 draws in this process.

    Returns:
        `root`.

    Raises:
        DatasetError: If `root` holds something that this function did not write, or a number is out of range.
    """
    settings = DrawnSet(train_per_class=train_per_class, val_per_class=val_per_class, seed=seed)
    tasks = list(_tasks(settings))
    total = sum(len(task.numbers) for task in tasks)
    if _stands(root, settings):
        _LOG.info("%s: the drawn photos stand already", root)
        if progress:
            progress(total, total)
        return root
    with _whole_or_nothing(root) as folder:
        _draw_all(folder, tasks, total, progress, workers or len(os.sched_getaffinity(0)))
        (folder / MANIFEST).write_text(json.dumps(to_plain(settings), indent=2) + "\n", encoding="utf-8")
    return root


def _tasks(settings: DrawnSet) -> Iterator[_Task]:
    for split, count in (("train", settings.train_per_class), ("val", settings.val_per_class)):
        for sign in SIGNS:
            for first in range(0, count, BATCH):
                numbers = range(first, min(first + BATCH, count))
                yield _Task(folder=Path(split, sign), split=split, sign=sign, numbers=numbers, settings=settings)


def _draw_all(folder: Path, tasks: list[_Task], total: int, progress: Progress | None, workers: int) -> None:
    for task in tasks:
        (folder / task.folder).mkdir(parents=True, exist_ok=True)
    roots = [folder] * len(tasks)
    if workers == 1:
        _report(map(_draw, roots, tasks), total, progress)
        return
    # Spawned, not forked: the caller may already hold torch's threads, and those do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context, initializer=_start_worker) as pool:
        try:
            _report(pool.map(_draw, roots, tasks), total, progress)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _report(counts: Iterator[int], total: int, progress: Progress | None) -> None:
    done = 0
    for count in counts:
        done += count
        if progress:
            progress(done, total)


def _start_worker() -> None:
    cv2.setNumThreads(1)  # The processes are the parallelism.
    # A terminal's Ctrl-C reaches every process: the parent alone decides what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw(root: Path, task: _Task) -> int:
    settings = task.settings
    for number, path in zip(task.numbers, task.paths(root), strict=True):
        rng = np.random.default_rng([settings.seed, SPLITS[task.split], SIGNS.index(task.sign), number])
        image = draw_photo(task.sign, rng, height=settings.height, width=settings.width)
        _, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        path.write_bytes(data.tobytes())
    return len(task.numbers)


def _stands(root: Path, settings: DrawnSet) -> bool:
    """Whether `root` is a whole set with these settings; a set of ours with others may be replaced.

    Raises:
        DatasetError: If something else stands there.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    manifest = root / MANIFEST
    strange = [
        path for path in root.rglob("*") if path.is_file() and not OURS.fullmatch(path.relative_to(root).as_posix())
    ]
    if strange or not manifest.is_file():
        found = strange[0].relative_to(root) if strange else f"no {MANIFEST}"
        raise DatasetError(
            f"{root}: want a missing or empty folder, or a drawn set, found {found}: name another folder"
        )
    if manifest.read_text(encoding="utf-8") != json.dumps(to_plain(settings), indent=2) + "\n":
        return False
    # A user who looked through the photos may have deleted some.
    return all(path.is_file() for task in _tasks(settings) for path in task.paths(root))


@contextmanager
def _whole_or_nothing(root: Path) -> Iterator[Path]:
    """A folder beside `root` that replaces it at the end, or vanishes with the exception that ends the block."""
    root.parent.mkdir(parents=True, exist_ok=True)
    # The same name each time: what a killed run left behind is found and removed here.
    partial, old = root.with_name(f".{root.name}.partial"), root.with_name(f".{root.name}.old")
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if root.exists():
            root.rename(old)
        partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
