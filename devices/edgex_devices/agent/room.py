"""How much room a deploy wants on the board's disk, and what is said where there is less."""

import errno
import shutil
from pathlib import Path

from edgex_devices.agent.config import REQUIREMENTS
from edgex_devices.agent.manifest import MANIFEST, BundledFile, Manifest
from edgex_devices.agent.store import Store
from edgex_runtime.errors import BundleError, DeployError

# Wheels are zips: what pip unpacks from them is about three times as large (measured: 79 MB of wheels, 236 MB).
_UNPACKED = 3
_MARGIN_BYTES = 16 << 20
# What small files want: a state, a link, a unit.
LITTLE_BYTES = 1 << 20


def wanted_bytes(store: Store, manifest: Manifest, needed: list[tuple[BundledFile, int]]) -> int:
    """What a deploy will write at most: the copy, the environment unless there is one for this lock, and a margin."""
    copy = sum(file.size - here for file, here in needed)
    wheels = sum(file.size for file in manifest.files if file.path.endswith(".whl"))
    return copy + (0 if _has_environment(store, manifest) else _UNPACKED * wheels) + _MARGIN_BYTES


def check_room(store: Store, wanted: int) -> None:
    """Refuse before the copy what would not fit.

    Raises:
        DeployError: With what is wanted and what is free.
    """
    free = shutil.disk_usage(store.root).free
    if free < wanted:
        raise _too_full(store.root, wanted, free, "")


def is_full(error: Exception) -> bool:
    """Whether a disk had no room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def explain(error: Exception, root: Path, wanted: int = LITTLE_BYTES) -> Exception:
    """The same error, with what was wanted and what was found if a disk was full."""
    if not (isinstance(error, OSError) and is_full(error)):
        return error
    place = Path(error.filename) if isinstance(error.filename, str) else root
    while not place.is_dir():
        place = place.parent
    at = f" (at {Path(error.filename).name})" if isinstance(error.filename, str) else f" ({error.strerror})"
    return _too_full(place, wanted, shutil.disk_usage(place).free, at)


def _too_full(place: Path, wanted: int, free: int, at: str) -> DeployError:
    return DeployError(
        f"the disk is too full{at}: want {wanted / 1e6:.0f} MB free in {place}, there are {free / 1e6:.1f}: "
        "remove something there"
    )


def _has_environment(store: Store, manifest: Manifest) -> bool:
    """Whether an installed release has the same lock."""
    locks = {file.sha256 for file in manifest.files if file.path == REQUIREMENTS}
    for folder in store.releases.iterdir() if store.releases.is_dir() else ():
        try:
            theirs = Manifest.from_json((folder / MANIFEST).read_bytes())
        except (OSError, BundleError):
            continue
        if store.is_installed(folder.name) and locks & {file.sha256 for file in theirs.files}:
            return True
    return False
