"""What stages have made, kept under a key that says everything they depend on: finished and intact, or not there.

An entry is a folder named by its key. It is written under another name and takes its own by one rename, so that a
process that is killed leaves nothing that looks like one; its manifest lists each file's digest, so that a damaged one
counts as none and is made again; that holds after a power cut as well, with no wait for the disk.
"""

import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgex_converters.scratch import scratch_folder
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.provenance import file_sha256, now
from edgex_runtime.schema import from_plain, to_plain
from edgex_runtime.verdicts import cache_folder

# Some nine Xceptions in all formats and precisions.
DEFAULT_LIMIT_GB = 4.0
_FOLDER = "conversions"
_UNFINISHED = ".making-"
_MANIFEST = "manifest.json"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an entry says of itself.

    Attributes:
        step: What made it: ``quantize_onnx``, ``verify``.
        about: For whom: the network's name and the target.
        date: When it was made.
        seconds: What making it took.
        files: sha256 of each file, by name.
    """

    step: str
    about: str
    date: str
    seconds: float
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A finished step.

    Attributes:
        folder: Where its files are.
        manifest: What it says of itself.
        cached: Whether it was there before it was asked for.
        reproduced: Whether the user's cache holds the very same bytes from an earlier run; None where it holds none, or
            nobody asked.
    """

    folder: Path
    manifest: Manifest
    cached: bool
    reproduced: bool | None = None

    @property
    def digest(self) -> str:
        """One sha256 for all its files."""
        return hashlib.sha256(json.dumps(dict(self.manifest.files), sort_keys=True).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum((self.folder / name).stat().st_size for name in self.manifest.files)


class Cache:
    """Entries in one folder, which several conversions may use at the same time.

    Args:
        root: The folder.
        unfinished: A folder in it, for what is being made.
        known: Another cache, whose entries what is made here is compared with.
    """

    def __init__(self, root: Path, unfinished: Path, known: Path | None = None) -> None:
        self._root = root
        self._unfinished = unfinished
        self._known = known

    def find(self, key: str) -> Entry | None:
        """The entry of `key`, every byte of it checked; a damaged one is removed and counts as none."""
        folder = self._root / key
        if not folder.is_dir():
            return None
        manifest = _read_manifest(folder)
        if manifest is None or not _is_intact(folder, manifest):
            _remove(folder)
            return None
        os.utime(folder)  # What was used last is the last to go.
        return Entry(folder=folder, manifest=manifest, cached=True)

    def get(self, key: str, step: str, about: str, write: Callable[[Path], None]) -> Entry:
        """The entry of `key`; where there is none, `write` is called with an empty folder to fill.

        An exception of `write` leaves no entry.
        """
        return self.find(key) or self._add(key, step, about, write)

    def _add(self, key: str, step: str, about: str, write: Callable[[Path], None]) -> Entry:
        folder = Path(tempfile.mkdtemp(dir=self._unfinished))
        started = time.perf_counter()
        write(folder)
        seconds = time.perf_counter() - started
        files = {path.name: file_sha256(path) for path in sorted(folder.iterdir())}
        manifest = Manifest(step=step, about=about, date=now(), seconds=seconds, files=files)
        (folder / _MANIFEST).write_text(json.dumps(to_plain(manifest), indent=1), encoding="utf-8")
        final = self._root / key
        try:
            folder.rename(final)
        except OSError:
            # Another conversion was quicker with the same step: what stands there is what the next stage reads.
            found = self.find(key)
            if found is None:
                raise
            return found
        earlier = _read_manifest(self._known / key) if self._known else None
        reproduced = None if earlier is None else earlier.files == files
        return Entry(folder=final, manifest=manifest, cached=False, reproduced=reproduced)


def folder() -> Path:
    """Where the user's cache is."""
    return cache_folder() / _FOLDER


def limit_bytes() -> int:
    """How large it may be after a conversion: ``$EDGEX_CACHE_GB``, else 4 GB.

    Raises:
        BadInputError: If the variable is no size.
    """
    chosen = os.environ.get("EDGEX_CACHE_GB") or str(DEFAULT_LIMIT_GB)
    try:
        limit = float(chosen) * 1e9
    except ValueError:
        limit = -1.0
    if not 0 <= limit < math.inf:
        raise BadInputError(f"EDGEX_CACHE_GB: want a size in GB, as in 4 or 0.5, got {chosen!r}")
    return int(limit)


@contextmanager
def open_cache() -> Iterator[Cache]:
    """The user's cache; when the block ends the oldest-used entries go until the rest is within the limit."""
    root, limit = folder(), limit_bytes()
    with scratch_folder(root, _UNFINISHED) as unfinished, _lock(root) as lock:
        yield Cache(root, unfinished)
        if _take_alone(lock):
            _trim(root, limit)


@contextmanager
def passing_cache(root: Path) -> Iterator[Cache]:
    """An empty cache that nobody finds again: for ``--no-cache``, and for networks that nothing tells apart.

    What an earlier run has kept is not taken, but it tells whether the same inputs give the same bytes.
    """
    with scratch_folder(root, _UNFINISHED) as unfinished:
        yield Cache(root, unfinished, known=folder())


def entries() -> tuple[Entry, ...]:
    """Everything in the user's cache, the last used first; their files are not checked."""
    paths = sorted(_finished(folder()), key=lambda path: path.stat().st_mtime, reverse=True)
    found = [(path, _read_manifest(path)) for path in paths]
    return tuple(Entry(folder=path, manifest=manifest, cached=True) for path, manifest in found if manifest)


def trim(limit: int) -> None:
    """Remove the oldest-used entries of the user's cache until the rest is within `limit` bytes; 0 removes all.

    Raises:
        BadInputError: If a conversion is using it.
    """
    root = folder()
    if not root.is_dir():
        return
    with _lock(root) as lock:
        if not _take_alone(lock):
            raise BadInputError(f"{root}: a conversion is using the cache: try again when it has ended")
        _trim(root, limit)


def _finished(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if not path.name.startswith(".")] if root.is_dir() else []


def _trim(root: Path, limit: int) -> None:
    sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in _finished(root)}
    total = sum(sizes.values())
    for path in sorted(sizes, key=lambda path: path.stat().st_mtime):
        if total <= limit:
            return
        _remove(path)
        total -= sizes[path]


def _read_manifest(folder: Path) -> Manifest | None:
    path = folder / _MANIFEST
    try:
        return from_plain(Manifest, json.loads(path.read_text(encoding="utf-8")), where=str(path))
    except (OSError, ValueError, SpecError):
        return None


def _is_intact(folder: Path, manifest: Manifest) -> bool:
    try:
        return all(file_sha256(folder / name) == digest for name, digest in manifest.files.items())
    except OSError:
        return False


def _remove(folder: Path) -> None:
    """Rename, then remove: nobody finds half of it, and what a kill leaves is swept up as unfinished."""
    grave = folder.with_name(f"{_UNFINISHED}{folder.name}")
    try:
        folder.rename(grave)
    except OSError:
        return  # Another conversion is at it.
    shutil.rmtree(grave, ignore_errors=True)


@contextmanager
def _lock(root: Path) -> Iterator[int]:
    """Held by everybody who reads; who removes has to be alone."""
    lock = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield lock
    finally:
        os.close(lock)


def _take_alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
