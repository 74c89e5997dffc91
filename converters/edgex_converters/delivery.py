"""Puts a finished artifact where its verdict says: into the output folder, or under `rejected/`."""

import os
import shutil
from pathlib import Path

from edgex_runtime.errors import ModelFileError
from edgex_runtime.metadata.registry import artifact_files, artifact_sha256

REJECTED = "rejected"


def place(out: Path, filename: str, *, passed: bool) -> Path:
    """Where an artifact belongs, by its verdict."""
    return out / filename if passed else out / REJECTED / filename


def stands(path: Path, sha256: str) -> bool:
    """Whether the artifact at `path` is there already, to the byte."""
    try:
        return artifact_sha256(path) == sha256
    except (ModelFileError, OSError):
        return False


def deliver(path: Path, destination: Path) -> None:
    """Move an artifact's files out of the scratch folder, in place of an earlier run's.

    Args:
        path: The sealed artifact, on the same file system as `destination`.
        destination: Where it belongs.
    """
    destination.parent.mkdir(exist_ok=True)
    # The named file last: whoever sees it finds its weights beside it.
    for file in reversed(artifact_files(path)):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        file.replace(destination.parent / file.name)


def withdraw(path: Path) -> None:
    """Remove an earlier run's artifact, whose verdict was another: the newer one counts."""
    for file in (path, *((path.with_suffix(".bin"),) if path.suffix == ".xml" else ())):
        file.unlink(missing_ok=True)


def copy_artifact(path: Path, destination: Path) -> None:
    """Copy an artifact's files under another name, so that the original stays what the next stage starts from."""
    destination.parent.mkdir(exist_ok=True)
    for file in artifact_files(path):
        shutil.copyfile(file, destination.with_suffix(file.suffix))
