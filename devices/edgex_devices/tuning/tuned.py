"""What `edgex tune` found out, kept for `edgex live` on this machine: which engine, and with which options."""

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgex_devices.tuning.candidate import Candidate
from edgex_devices.tuning.tuned_folder import tuned_folder
from edgex_runtime.atomic import atomic_write
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.errors import EdgexError
from edgex_runtime.metadata.registry import artifact_sha256
from edgex_runtime.schema import from_plain, to_plain
from edgex_runtime.verdicts import cpu_model

SCHEMA_VERSION = 1
_LOG = logging.getLogger(__name__)
_VENDORS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "ai-edge-litert",
    "tflite-runtime",
    "torch",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured of a candidate.

    Attributes:
        frame_ms: Median time of a frame: the middle one of its rounds' medians.
        p95_ms: Nineteen of twenty frames of all rounds were done within it.
        spread_ms: Between the fastest and the slowest round's medians.
        inference_ms: The engine's share of `frame_ms`.
        peak_mb: Largest memory of the process.
        start_s: To open the model and answer once.
        rounds: In how many rounds it took part.
        frames: How many frames that were.
        ran_on: The device that the engine reports.
        engine_version: Of the engine.
    """

    frame_ms: float
    p95_ms: float
    spread_ms: float
    inference_ms: float
    peak_mb: float
    start_s: float
    rounds: int
    frames: int
    ran_on: str
    engine_version: str

    @property
    def fps(self) -> float:
        """Frames per second, one after the other."""
        return 1e3 / self.frame_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table.

    Attributes:
        candidate: What was tried.
        precision: Of the file.
        figures: None where it was not measured.
        why_not: Why it cannot be chosen; empty if it can.
    """

    candidate: Candidate
    precision: str
    figures: Figures | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """How to run one artifact on this machine.

    Attributes:
        artifact: Its `artifact_sha256`.
        machine: As `machine_fingerprint`.
        best: The fastest way that keeps what was asked for.
        is_choice: Whether it was the fastest of all files of that tuning, too.
        table: Everything that was measured then, of all files.
        wanted: What was asked for, in words.
        date: ISO 8601, UTC.
        schema: Version of this schema.
    """

    artifact: str
    machine: str
    best: Candidate
    is_choice: bool
    table: tuple[Row, ...]
    wanted: str
    date: str
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema != SCHEMA_VERSION:
            raise ValueError(f"want a tuning of schema {SCHEMA_VERSION}, got {self.schema}")

    @property
    def engine(self) -> str:
        """Name of the engine, for `Model` and `open_engine`."""
        return self.best.engine

    @property
    def options(self) -> EngineOptions:
        """For that engine."""
        return self.best.options


def load_tuned(model: Path) -> Tuned | None:
    """How this very file runs best on this very machine; None where that was never measured.

    An artifact with other bytes, another CPU, another number of cores that may be used, or another version of an
    engine is another matter: then it is None too. A record that cannot be read is None, and logged.

    Raises:
        ModelFileError: If there is no such file.
    """
    digest, machine = artifact_sha256(model), machine_fingerprint()
    path = _path(digest, machine)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return None
    try:
        tuned = from_plain(Tuned, json.loads(text), where=str(path))
    except (ValueError, EdgexError) as error:
        _LOG.warning("%s: not used, tune again: %s", path, error)
        return None
    return tuned if (tuned.artifact, tuned.machine) == (digest, machine) else None


def save_tuned(tuned: Tuned) -> Path:
    """Keep a tuning in place of an earlier one, atomically.

    Raises:
        OSError: If the state folder cannot be written to.
    """
    path = _path(tuned.artifact, tuned.machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(json.dumps(to_plain(tuned), indent=1).encode())
    return path


def machine_fingerprint() -> str:
    """Digest of what decides how fast a model runs: the CPU, the cores that may be used, drivers, engine versions."""
    parts = [cpu_model(), str(len(os.sched_getaffinity(0))), _nvidia(), *map(_version, _VENDORS)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _path(digest: str, machine: str) -> Path:
    return tuned_folder() / f"{digest}-{machine[:16]}.json"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _nvidia() -> str:
    try:
        return Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
