"""Does each engine really run here? ``python -m edgex_devices.engine_check`` runs tiny models and says so as JSON.

The models come with edgex, fp32 and int8, each with its contract: what an engine answers is held to recorded logits.
Every run is in a process of its own, since a wheel that was built for another CPU ends it (SIGILL).
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np

from edgex_runtime.engines.engine import Device
from edgex_runtime.errors import (
    ContractMismatchError,
    DeviceUnavailableError,
    EdgexError,
    MissingExtraError,
    SpecError,
)
from edgex_runtime.golden import load_golden_images
from edgex_runtime.model import Model
from edgex_runtime.schema import from_plain, to_plain

Verdict = Literal["right", "wrong", "failed", "absent", "unavailable"]

_MODELS = Path(__file__).with_name("tiny")
_LONGEST_S = 60
_REPEATS = 5
# Engine, device, model. The int8 files run the instructions that older CPUs lack.
RUNS: tuple[tuple[str, Device, str], ...] = (
    ("onnxruntime", "cpu", "tiny.onnx"),
    ("onnxruntime", "cpu", "tiny-int8.onnx"),
    ("onnxruntime", "gpu", "tiny.onnx"),
    ("openvino", "cpu", "tiny.xml"),
    ("openvino", "cpu", "tiny-int8.onnx"),
    ("openvino", "gpu", "tiny.xml"),
    ("openvino", "npu", "tiny.xml"),
    ("tflite", "cpu", "tiny.tflite"),
    ("tflite", "cpu", "tiny-int8.tflite"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRun:
    """What came of running one tiny model.

    Attributes:
        engine: Its name.
        device: That was asked for.
        model: The file's name.
        verdict: ``right`` · ``wrong`` answers · ``failed`` to load or run · ``absent``: not installed ·
            ``unavailable``: there is no such device for it.
        version: Of the engine.
        ran_on: The device that the engine reports; empty if it did not run.
        ms: Median of a few runs of one picture.
        why: Of any verdict but ``right``.
    """

    engine: str
    device: Device
    model: str
    verdict: Verdict
    version: str = ""
    ran_on: str = ""
    ms: float = 0.0
    why: str = ""


def run_all() -> tuple[EngineRun, ...]:
    """Every row of `RUNS`, each in a process of its own."""
    return tuple(_apart(*row) for row in RUNS)


def run_here(engine: str, device: Device, model: str) -> EngineRun:
    """One run in this process, which may end with it."""

    def came_to(verdict: Verdict, why: str) -> EngineRun:
        return EngineRun(engine=engine, device=device, model=model, verdict=verdict, why=why)

    try:
        with Model(_MODELS / model, engine=engine, device=device, threads=1) as opened:
            return _measure(opened, engine, device, model)
    except MissingExtraError as error:
        return came_to("absent", str(error))
    except DeviceUnavailableError as error:
        return came_to("unavailable", str(error))
    except ContractMismatchError as error:
        return came_to("wrong", str(error))
    except EdgexError as error:
        return came_to("failed", str(error))


def _measure(opened: Model, engine: str, device: Device, model: str) -> EngineRun:
    golden = opened.spec.golden
    assert golden is not None, "the tiny models carry golden samples"
    images = [image.image for image in load_golden_images()]
    # The self-test at load may be remembered from an earlier day: this is run now.
    logits = opened.logits(images)
    distance = float(np.abs(logits - np.array([sample.logits for sample in golden.samples])).max())
    times = []
    for _ in range(_REPEATS):
        started = perf_counter()
        opened.logits(images[:1])
        times.append((perf_counter() - started) * 1e3)
    is_right = distance <= golden.tolerance
    return EngineRun(
        engine=engine,
        device=device,
        model=model,
        verdict="right" if is_right else "wrong",
        version=opened.engine.info.version,
        ran_on=opened.engine.info.device,
        ms=float(np.median(times)),
        why="" if is_right else f"a logit is {distance:.3g} off, {golden.tolerance:.3g} is allowed",
    )


def _apart(engine: str, device: Device, model: str) -> EngineRun:
    command = [sys.executable, "-m", "edgex_devices.engine_check", engine, device, model]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def failed(why: str) -> EngineRun:
        return EngineRun(engine=engine, device=device, model=model, verdict="failed", why=why)

    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return failed(f"it does not come back within {_LONGEST_S} s")
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        cause = "this build wants instructions that this CPU lacks" if name == "SIGILL" else "it crashes"
        return failed(f"{cause} ({name})")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return failed(lines[-1] if lines else f"exit code {done.returncode}")
    return parse_runs(done.stdout, where=engine)[0]


def parse_runs(text: str, *, where: str) -> tuple[EngineRun, ...]:
    """Read what `main` prints: the last line of `text`, since vendors print too.

    Raises:
        SpecError: If it is something else.
    """
    try:
        rows = json.loads((text.strip().splitlines() or [""])[-1])
    except ValueError as error:
        raise SpecError(f"{where}: want engine runs as JSON in the last line, got {text[-80:]!r}") from error
    if not isinstance(rows, list):
        raise SpecError(f"{where}: want a list of engine runs, got {rows!r:.80}")
    return tuple(from_plain(EngineRun, row, where=where) for row in rows)


def main(arguments: list[str]) -> None:
    """Run what is named, or everything, and print the runs as one line of JSON."""
    runs = (run_here(arguments[0], arguments[1], arguments[2]),) if arguments else run_all()  # type: ignore[arg-type]
    sys.stdout.write("\n" + json.dumps([to_plain(run) for run in runs]) + "\n")
    sys.stdout.flush()
    # A vendor's threads may crash while they are torn down, which would be taken for the run's own end.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
