"""The heavy steps, each a function that writes what it makes into a folder: they run here or in a process of their own.

A step imports its tools when it runs, and what the tools print goes into `log`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_converters import timing
from edgex_converters.blame import Blame, diagnose
from edgex_converters.delivery import copy_artifact
from edgex_converters.evaluation import Progress, open_inputs
from edgex_converters.source import LazyNetwork, OnnxFile
from edgex_converters.stage import Job, Stage, load_entry
from edgex_converters.tool_output import tail, tool_output_to
from edgex_runtime.errors import EdgexError, StageError
from edgex_runtime.metadata.registry import artifact_sha256
from edgex_runtime.schema import from_plain, to_plain
from edgex_runtime.spec import ModelSpec

LOGITS = "logits.npy"
FAULT = "portability.json"
TIMES = "times.json"
SEAL = "seal.json"
BLAME = "blame.json"
REMARKS = "remarks.json"


def load_tools(stages: tuple[Stage, ...], log: Path) -> None:
    """Import what the stages need.

    Raises:
        MissingExtraError: If a tool is not installed.
    """
    with tool_output_to(log):
        for stage in stages:
            stage.load()
            stage.load_description()


def make(folder: Path, stage: Stage, job: Job, source: Path | None, filename: str, log: Path) -> None:
    """Make an artifact, its contract not yet inside, and note what the stage said of it.

    Raises:
        StageError: If the tool broke; the message ends with the last lines that it printed.
    """
    path = folder / filename
    try:
        with tool_output_to(log):
            run, describe = stage.load(), stage.load_description()
            remarks = run(job, source, path) or ()
            if describe is not None:
                describe(path, job.spec)
    except EdgexError:
        raise
    # The tools raise what they like, from AssertionError to C++ classes of their own; here is where that ends.
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        raise StageError(f"{stage.name} broke: {type(error).__name__}: {first}{tail(log)}") from error
    if not path.is_file():
        raise StageError(f"{stage.name} ended without an error and without a file{tail(log)}")
    (folder / REMARKS).write_text(json.dumps(remarks), encoding="utf-8")


def artifact_bytes(folder: Path) -> int:
    """Size of all files of the artifact that `make` left in `folder`."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != REMARKS)


def read_remarks(folder: Path) -> tuple[str, ...]:
    """What the stage said of what `make` left in `folder`."""
    return tuple(json.loads((folder / REMARKS).read_text(encoding="utf-8")))


def run_reference(folder: Path, network: LazyNetwork, inputs: Path, log: Path, progress: Progress) -> None:
    """Write the network's logits."""
    with tool_output_to(log):
        reference = network.get()
        module = "reference_onnx" if isinstance(reference, OnnxFile) else "reference"
        run = load_entry(f"edgex_converters.stages.{module}:run")
        np.save(folder / LOGITS, run(reference, open_inputs(inputs), progress))


def verify(
    folder: Path, stage: Stage, path: Path, inputs: Path, threads: int | None, log: Path, progress: Progress
) -> None:
    """Write an artifact's logits, and why it would answer differently on another CPU, if it would."""
    with tool_output_to(log):
        run = load_entry("edgex_converters.stages.verify:run")
        np.save(folder / LOGITS, run(path, open_inputs(inputs), threads=threads, progress=progress))
        fault = load_entry(stage.portability)(path) if stage.portability else None
    (folder / FAULT).write_text(json.dumps(fault), encoding="utf-8")


def blame(
    folder: Path,
    path: Path,
    source: Path | LazyNetwork,
    inputs: Path,
    reference: NDArray[np.float32],
    threads: int | None,
    log: Path,
    progress: Progress,
) -> None:
    """Write which layers of an artifact its error comes from, next to `source`, or why that cannot be said."""
    found, why = None, ""
    with tool_output_to(log):
        before = source if isinstance(source, Path) else source.get()
        try:
            if isinstance(before, OnnxFile):
                raise StageError("blame: an ONNX file that others made has no layers of a network to compare")
            found = diagnose(path, before, open_inputs(inputs), reference, threads=threads, progress=progress)
        except StageError as error:
            why = str(error)
    note = {"blame": None if found is None else to_plain(found), "why": why}
    (folder / BLAME).write_text(json.dumps(note), encoding="utf-8")


def read_blame(folder: Path) -> tuple[Blame | None, str]:
    """What `blame` wrote."""
    note = json.loads((folder / BLAME).read_text(encoding="utf-8"))
    found = None if note["blame"] is None else from_plain(Blame, note["blame"], where="blame")
    return found, note["why"]


def seal(folder: Path, raw: Path, sealed: Path, spec: ModelSpec, threads: int | None, log: Path) -> None:
    """Copy an artifact to `sealed`, write its contract into it, and note what only a run of it could tell."""
    with tool_output_to(log):
        copy_artifact(raw, sealed)
        written = load_entry("edgex_converters.stages.seal:run")(sealed, spec, threads=threads)
    note = {"golden": to_plain(written.golden), "date": spec.provenance.date, "sha256": artifact_sha256(sealed)}
    (folder / SEAL).write_text(json.dumps(note), encoding="utf-8")


def time_artifacts(folder: Path, paths: Mapping[str, Path], inputs: Path, threads: int | None, log: Path) -> None:
    """Write the milliseconds an image of each artifact, all in turn."""
    with tool_output_to(log):
        ms = timing.time_artifacts(paths, open_inputs(inputs), threads=threads)
    (folder / TIMES).write_text(json.dumps(ms), encoding="utf-8")
