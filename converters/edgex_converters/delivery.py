"""Puts a finished artifact where its verdict says: into the output folder, or under `rejected/`."""

import os
import shutil
from pathlib import Path

from edgex_runtime.metadata.registry import artifact_files

REJECTED = "rejected"


def deliver(path: Path, out: Path, *, passed: bool) -> Path:
    """Move an artifact's files out of the scratch folder, in place of an earlier run's.

    Args:
        path: The sealed artifact, on the same file system as `out`.
        out: The output folder.
        passed: Its verdict. An earlier file of that name with the other verdict is removed: the newer verdict counts.

    Returns:
        Where it stands now.
    """
    good, bad = out, out / REJECTED
    folder, other = (good, bad) if passed else (bad, good)
    folder.mkdir(exist_ok=True)
    # The named file last: whoever sees it finds its weights beside it.
    for file in reversed(artifact_files(path)):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        file.replace(folder / file.name)
        (other / file.name).unlink(missing_ok=True)
    return folder / path.name


def copy_artifact(path: Path, folder: Path) -> Path:
    """Copy an artifact's files into `folder`, so that the original stays what the next stage starts from."""
    folder.mkdir(exist_ok=True)
    for file in artifact_files(path):
        shutil.copyfile(file, folder / file.name)
    return folder / path.name
