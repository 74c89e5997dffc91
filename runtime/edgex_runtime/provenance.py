"""Who made a file, with what, and when."""

import datetime
import hashlib
import os
import platform
import time
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path


def tool_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of the packages that are installed, Python and edgex among them, by distribution name."""
    versions = {"python": platform.python_version()}
    for package in sorted({"edgex", "numpy", *packages}):
        version = _version(package)
        if version is not None:
            versions[package] = version
    return versions


@cache
def _version(package: str) -> str | None:
    """Looked up once: reading a distribution's metadata takes milliseconds, and each stage of a conversion asks."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def now() -> str:
    """The present second, ISO 8601, UTC; or that of ``SOURCE_DATE_EPOCH``, for whoever wants the same bytes again.

    https://reproducible-builds.org/specs/source-date-epoch/
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(epoch) if epoch.isdecimal() else time.time()
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(timespec="seconds")


def machine() -> dict[str, str]:
    """What a file was made and measured on: nothing that names the machine, its user or its network."""
    return {
        "cpu": _cpu_name(),
        "cores": str(os.cpu_count() or "unknown"),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _cpu_name() -> str:
    """Linux says it in /proc/cpuinfo, on some ARM boards only as the device tree's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, "") or platform.processor() or "unknown"


def file_sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
