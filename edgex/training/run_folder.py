"""The folder of one run: what lies where, and how each file is written."""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgex.training.observer import EpochMetrics
from edgex.training.split import Split
from edgex_runtime.atomic import atomic_write
from edgex_runtime.dataset import split_folders
from edgex_runtime.errors import BadInputError
from edgex_runtime.schema import to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Paths of a run.

    RUN/NAME.safetensors  the best network so far, with its contract   RUN/split.json    which photo is where
    RUN/metrics.jsonl     a line an epoch                              RUN/train.log     what was said
    RUN/curves.png, confusion.png                                      RUN/state/        for --resume
    RUN/features/         the frozen trunk's outputs                   RUN/folds/        links, a folder a fold
    """

    root: Path
    name: str

    @property
    def checkpoint(self) -> Path:
        """The run's result."""
        return self.root / f"{self.name}.safetensors"

    @property
    def split(self) -> Path:
        """Which photo is in which fold."""
        return self.root / "split.json"

    @property
    def metrics(self) -> Path:
        """A line an epoch."""
        return self.root / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.root / "train.log"

    @property
    def state(self) -> Path:
        """What a resumed run goes on from."""
        return self.root / "state" / "state.safetensors"

    @property
    def features(self) -> Path:
        """The frozen trunk's outputs."""
        return self.root / "features"

    def best(self, epoch: int) -> Path:
        """The checkpoint of an epoch that was the best when it ended."""
        return self.root / "state" / f"best-{epoch:05d}.safetensors"

    def open(self, *, resume: bool, overwrite: bool) -> bool:
        """Make the folder ready; returns whether a saved state is to be gone on from.

        Raises:
            BadInputError: If it holds a run and neither `resume` nor `overwrite` says what to do with it, or if there
                is nothing to resume.
        """
        begun = self.split.exists() or self.state.exists()
        if resume and not begun:
            raise BadInputError(f"--resume: {self.root} holds no run: leave --resume away to begin one")
        if begun and not resume and not overwrite:
            raise BadInputError(
                f"{self.root} holds a run already: go on with --resume, drop it with --overwrite, or give another -o"
            )
        if overwrite:
            for path in (self.split, self.metrics, self.log, self.checkpoint):
                path.unlink(missing_ok=True)
            shutil.rmtree(self.state.parent, ignore_errors=True)
        self.state.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self.root, self.state.parent):
            for path in folder.glob(".*.tmp"):
                path.unlink()  # What a kill left of a file half written.
        return self.state.exists()

    def publish(self, epoch: int) -> None:
        """Make an epoch's checkpoint the run's result, and drop those of the epochs before."""
        kept = self.best(epoch)
        with atomic_write(self.checkpoint) as file, kept.open("rb") as source:
            shutil.copyfileobj(source, file)
        for path in self.state.parent.glob("best-*.safetensors"):
            if path != kept:
                path.unlink()

    def write_split(self, split: Split) -> None:
        """Write split.json."""
        with atomic_write(self.split) as file:
            file.write(json.dumps(split.to_plain(), indent=1, ensure_ascii=False).encode())

    def fold_places(self, split: Split) -> tuple[Path, Path]:
        """The folders of the train and the val fold, a folder per class, as every other command takes them.

        Where the data has none of its own they are made here, of links to the photos.
        """
        train, val = split_folders(split.root)
        if train is not None and val is not None:
            return train, val
        places = self.root / "folds" / "train", self.root / "folds" / "val"
        for place, samples in zip(places, (split.train, split.val), strict=True):
            shutil.rmtree(place, ignore_errors=True)
            for sample in samples:
                link = place / sample.path.relative_to(split.root)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(sample.path.resolve())
        return places

    def write_metrics(self, history: Sequence[EpochMetrics]) -> None:
        """Write metrics.jsonl anew: after a kill it may hold a line of an epoch whose state was never saved."""
        with atomic_write(self.metrics) as file:
            file.writelines(json.dumps(to_plain(line)).encode() + b"\n" for line in history)

    @contextmanager
    def logging_to_file(self) -> Iterator[None]:
        """Let train.log take what `edgex.training` logs, within the block."""
        logger = logging.getLogger("edgex.training")
        handler = logging.FileHandler(self.log, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(min(level or logging.INFO, logging.INFO))
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            handler.close()
