"""Whether what is installed is still what was installed: memory cards rot, and nobody is told."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from edgex_devices.agent.config import INSTALLER, WHEELHOUSE
from edgex_devices.agent.manifest import MANIFEST, Manifest
from edgex_devices.agent.store import COMPLETE, INSTALLED, Store
from edgex_runtime.errors import BundleError

_CHUNK = 1 << 20
_RELEASE_DIGITS = 16


def damage(store: Store, name: str, *, everything: bool = False) -> list[str]:
    """The files of an installed release and of its environment that are not what was installed.

    Args:
        store: The app's folder.
        name: The release.
        everything: Also the wheels, which nothing reads until an environment has to be made again; and each file from
            the disk itself, whatever of it is in memory.

    Returns:
        Their paths in the app's folder; none if all is well.
    """
    release = store.release(name)
    found = list(_release_damage(release, everything=everything))
    try:
        env = json.loads((release / INSTALLED).read_bytes())["env"]
    except (OSError, ValueError, KeyError, TypeError):
        return [str(path.relative_to(store.root)) for path in (*found, release / INSTALLED)]
    if env:
        found += environment_damage(store.envs / env, from_disk=everything)
    return [str(path.relative_to(store.root)) for path in found]


def list_environment(folder: Path) -> str:
    """What `sha256sum -c` reads: each file of an environment that was just made."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return "".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in paths)


def environment_damage(folder: Path, *, from_disk: bool = False) -> list[Path]:
    """The files of an environment that are not what `list_environment` listed."""
    try:
        lines = (folder / COMPLETE).read_text(encoding="utf-8").splitlines()
        listed = [(folder / path, wanted) for wanted, _, path in (line.partition("  ") for line in lines)]
    except (OSError, ValueError):
        return [folder / COMPLETE]
    return [path for path, wanted in listed if sha256(path, from_disk=from_disk) != wanted]


def sha256(path: Path, *, from_disk: bool = False) -> str:
    """A file's digest in hex; none for one that is not there or that the disk does not give."""
    total = hashlib.sha256()
    try:
        with path.open("rb") as file:
            if from_disk:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while chunk := file.read(_CHUNK):
                total.update(chunk)
    except OSError:
        return ""
    return total.hexdigest()


def _release_damage(release: Path, *, everything: bool) -> Iterator[Path]:
    try:
        text = (release / MANIFEST).read_bytes()
        manifest = Manifest.from_json(text)
    except (OSError, BundleError):
        yield release / MANIFEST
        return
    if hashlib.sha256(text).hexdigest()[:_RELEASE_DIGITS] != release.name:
        yield release / MANIFEST
        return
    for file in manifest.files:
        is_idle = file.path.partition("/")[0] in (WHEELHOUSE, INSTALLER)
        if (everything or not is_idle) and sha256(release / file.path, from_disk=everything) != file.sha256:
            yield release / file.path
