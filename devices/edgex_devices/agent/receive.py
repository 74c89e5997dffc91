"""The files of a bundle that the board does not have yet, from where an earlier attempt broke off."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from edgex_devices.agent.archive import digest
from edgex_devices.agent.integrity import sha256
from edgex_devices.agent.manifest import BundledFile, Manifest
from edgex_devices.agent.store import Reach, Store, sync
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import BundleError, DeployError

_CHUNK = 1 << 18
Read = Callable[[int], bytes]


def missing(store: Store, manifest: Manifest) -> list[tuple[BundledFile, int]]:
    """Files that have to come, each with how much of it is here; damaged ones count as absent."""
    wanted = {file.sha256: file for file in manifest.files}
    return [(file, _part_size(store, file)) for file in wanted.values() if not _is_here(store, file)]


def receive(store: Store, file: BundledFile, here: int, read: Read, reach: Reach) -> None:
    """Take the rest of one file, and keep what came when the connection breaks.

    Args:
        store: Where to.
        file: Which.
        here: How much of it is here.
        read: Gives up to so many bytes; none when the connection has ended.
        reach: Told when the file is whole.

    Raises:
        BundleError: If the bytes are not those of the manifest.
        DeployError: If the connection ends.
    """
    part = store.blobs / f"{file.sha256}.part"
    with part.open("ab") as output:
        output.truncate(here)
        left = file.size - here
        while left:
            chunk = read(min(left, _CHUNK))
            if not chunk:
                raise DeployError("the connection ended in the midst of the copy; the next deploy goes on from there")
            output.write(chunk)
            left -= len(chunk)
        output.flush()
        os.fsync(output.fileno())
    if digest(part) != (file.size, file.sha256):
        part.unlink()
        raise BundleError(f"bundle: {file.path} arrived as other bytes than the manifest says: deploy again")
    part.rename(store.blobs / file.sha256)
    sync(store.blobs)
    reach("file-received")


def lay_out(store: Store, manifest: Manifest, signature: bytes, names: tuple[str, str], reach: Reach) -> Path:
    """Make the release's folder of links to what came; an unfinished one of that name is made anew."""
    folder = store.release(manifest.release)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for file in manifest.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(store.blobs / file.sha256, target)
    reach("files-linked")
    for name, data in zip(names, (manifest.to_json(), signature), strict=True):
        (folder / name).write_bytes(data)
    reach("manifest-written")
    return folder


def mend(store: Store, manifest: Manifest, signature: bytes, names: tuple[str, str], reach: Reach) -> None:
    """Put what came in the place of what is not right any more in a release that is installed, perhaps served.

    Each file goes by one rename: at no moment is the release worse than before.
    """
    folder = store.release(manifest.release)
    for file in manifest.files:
        target = folder / file.path
        if sha256(target) == file.sha256:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.new")
        new.unlink(missing_ok=True)
        _link(store.blobs / file.sha256, new)
        new.replace(target)
    for name, data in zip(names, (manifest.to_json(), signature), strict=True):
        with atomic_write(folder / name) as output:
            output.write(data)
    reach("files-mended")


def _is_here(store: Store, file: BundledFile) -> bool:
    blob = store.blobs / file.sha256
    return sha256(blob) == file.sha256


def _part_size(store: Store, file: BundledFile) -> int:
    part = store.blobs / f"{file.sha256}.part"
    if not part.is_file():
        return 0
    size = part.stat().st_size
    return size if size < file.size else 0


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        # FAT and some network file systems have no hard links.
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        shutil.copyfile(source, target)
