"""A frozen trunk's outputs, computed once and kept on the disk, so that a CPU can train what follows it.

    RUN/features/KEY/plan.json    what they were computed from, and how many rows are done
    RUN/features/KEY/train.npy    (views × photos, h, w, C) float16
    RUN/features/KEY/val.npy      (photos, h, w, C) float32: the val figures are the network's own, to the bit

KEY is the digest of everything that decides a value; files under another key are stale, never read, and deleted.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import nn

from edgex.training.accelerator import Accelerator
from edgex.training.prefetch import prefetch
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import BadInputError, WeightsError

Image = NDArray[np.uint8]
log = logging.getLogger(__name__)

SCHEMA = 1
# Small batches keep a layer's maps in the CPU's cache: 2 photos at 299 px cost half of what 32 do, each.
_CPU_BATCH, _GPU_BATCH = 2, 64
# Rows between two notes of how far it has come: what a kill can cost.
_ROWS_A_NOTE = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """One file of features.

    Attributes:
        name: ``train`` or ``val``.
        count: Rows.
        dtype: Of the file.
        photo: The picture of a row, (S, S, 3) uint8; called in threads.
    """

    name: str
    count: int
    dtype: type[np.floating[Any]]
    photo: Callable[[int], Image]


class FeatureCache:
    """Features of one trunk for one set of photos."""

    def __init__(self, folder: Path, *, plan: dict[str, Any]) -> None:
        self._plan = {"schema": SCHEMA, **plan}
        digest = hashlib.sha256(json.dumps(self._plan, sort_keys=True).encode()).hexdigest()
        self._parent = folder
        self._folder = folder / digest[:16]

    def rows_done(self, rows: Rows) -> int:
        """How many rows an earlier run has left."""
        return self._notes().get(rows.name, 0)

    def compute(
        self, rows: Rows, trunk: nn.Module, accelerator: Accelerator, *, workers: int, advance: Callable[[int], None]
    ) -> NDArray[np.floating[Any]]:
        """Compute what is not there yet, and open the file.

        Args:
            rows: Which.
            trunk: (N, S, S, 3) uint8 → (N, h, w, C) float32, on the accelerator's device.
            accelerator: Where it runs; always in float32.
            workers: Threads that prepare photos.
            advance: Told the rows that are done.

        Returns:
            (rows, h, w, C), mapped from the disk.

        Raises:
            BadInputError: If the disk has no room for them.
            WeightsError: If they do not fit the file's type.
        """
        self._drop_stale()
        done = self.rows_done(rows)
        path = self._folder / f"{rows.name}.npy"
        batch = _GPU_BATCH if accelerator.is_gpu else _CPU_BATCH
        file = _open(path, "r+") if done else None
        if done < rows.count:
            advance(done)
            for start, features in self._run(rows, done, batch, trunk, accelerator, workers):
                if file is None:
                    file = _allocate(path, (rows.count, *features.shape[1:]), rows.dtype)
                end = start + len(features)
                file[start:end] = features
                if end == rows.count or end // _ROWS_A_NOTE > start // _ROWS_A_NOTE:
                    file.flush()
                    self._note(rows.name, end)
                advance(len(features))
        return _open(path, "r")

    def _run(
        self, rows: Rows, done: int, batch: int, trunk: nn.Module, accelerator: Accelerator, workers: int
    ) -> Iterator[tuple[int, NDArray[np.floating[Any]]]]:
        def load(start: int) -> tuple[int, Image]:
            return start, np.stack([rows.photo(row) for row in range(start, min(start + batch, rows.count))])

        trunk.eval()
        for start, images in prefetch(load, range(done, rows.count, batch), workers=workers):
            with torch.inference_mode():
                features = trunk(accelerator.take(images)).cpu().numpy()
            with np.errstate(over="ignore"):
                stored = features.astype(rows.dtype)
            if not np.isfinite(stored).all():
                raise WeightsError(
                    f"features of row {start} reach {np.abs(features).max():.3g}, more than {rows.dtype.__name__} "
                    "holds: the weights are damaged or were trained for another range of pixels"
                )
            yield start, stored

    def _notes(self) -> dict[str, int]:
        path = self._folder / "plan.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))["rows_done"]) if path.exists() else {}

    def _note(self, name: str, done: int) -> None:
        with atomic_write(self._folder / "plan.json") as file:
            file.write(json.dumps({"plan": self._plan, "rows_done": self._notes() | {name: done}}, indent=1).encode())

    def _drop_stale(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._parent.iterdir():
            if path != self._folder:
                log.info("features of other weights, photos or settings dropped: %s", path)
                shutil.rmtree(path)


def _open(path: Path, mode: Literal["r", "r+"]) -> "np.memmap[Any, Any]":
    file: np.memmap[Any, Any] = open_memmap(path, mode=mode)  # type: ignore[no-untyped-call]
    return file


def _allocate(path: Path, shape: tuple[int, ...], dtype: type[np.floating[Any]]) -> "np.memmap[Any, Any]":
    """A new file with its blocks reserved: a full disk is an error here, and not a bus error at some later write."""
    file: np.memmap[Any, Any] = open_memmap(path, mode="w+", dtype=dtype, shape=shape)  # type: ignore[no-untyped-call]
    try:
        with path.open("r+b") as raw:
            os.posix_fallocate(raw.fileno(), 0, path.stat().st_size)
    except OSError as error:
        free = shutil.disk_usage(path.parent).free
        raise BadInputError(
            f"{path}: want {file.nbytes / 1e9:.2f} GB for features, found {free / 1e9:.2f} GB free: give -o on another "
            "disk or fewer --views"
        ) from error
    return file
