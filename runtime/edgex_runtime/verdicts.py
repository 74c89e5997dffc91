"""Checks of model files that have passed on this machine, remembered under the user's cache folder."""

import hashlib
import json
import logging
import os
import platform
from functools import cache
from pathlib import Path

import cv2
import numpy

from edgex_runtime.atomic import atomic_write
from edgex_runtime.engines.engine import EngineInfo
from edgex_runtime.golden import golden_sha256
from edgex_runtime.spec import SCHEMA_VERSION

_LOG = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where edgex keeps what it can make again: ``$EDGEX_CACHE_DIR``, else ``edgex`` in the user's cache folder."""
    if chosen := os.environ.get("EDGEX_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgex"


def verdict_key(info: EngineInfo, digest: str) -> str:
    """Everything that a verdict depends on: the artifact, what executes it, what prepares its images, the CPU."""
    parts = {
        "artifact": digest,
        "engine": [info.name, info.version, info.device],
        "cpu": cpu_model(),
        "preprocessing": [numpy.__version__, cv2.__version__],
        "golden": golden_sha256(),
        "schema": SCHEMA_VERSION,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def admission_key(digest: str, engine: str, installed: list[str]) -> str:
    """Everything that decides whether opening a model harms the process: its bytes, and the code that reads them."""
    parts = {"admitted": digest, "engine": engine, "installed": installed, "cpu": cpu_model()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_remembered(key: str) -> bool:
    """Whether this check has passed before; a verdict that cannot be read counts for nothing."""
    try:
        return _verdict(key).read_text(encoding="utf-8") == key
    except (OSError, UnicodeDecodeError):
        return False


def remember(key: str) -> None:
    """Remember that this check has passed; where nothing can be written the next start checks again."""
    try:
        _verdict(key).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(_verdict(key)) as file:
            file.write(key.encode())
    except OSError as error:
        _LOG.info("the self-test's verdict is not remembered: %s", error)


def _verdict(key: str) -> Path:
    return cache_folder() / "selftest" / key


@cache
def cpu_model() -> str:
    """Architecture and what /proc/cpuinfo says of the first core; a new instruction set is another CPU."""
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part", "CPU variant", "CPU revision")
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0].splitlines()
    except OSError:
        lines = []
    return "\n".join([platform.machine(), *(line for line in lines if line.startswith(wanted))])
