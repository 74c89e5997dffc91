"""May a vendor see this file? Decided before the engine opens it, since a damaged one can end the whole process.

A file of ours is held to the digest beside its contract. Any other is opened once in a process of its own (`trial.py`),
and only what comes out of that alive is opened here. A file that was admitted is remembered (`verdicts.py`).
"""

import json
import logging
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import Entry, engine_for, entry_for
from edgex_runtime.errors import ModelFileError
from edgex_runtime.metadata.registry import artifact_sha256, check_seal
from edgex_runtime.verdicts import admission_key, is_remembered, remember

_LOG = logging.getLogger(__name__)
# A backstop for a trial that sleeps. One that computes ends after `trial.limits` seconds of its own CPU time, so that a
# busy machine refuses nothing.
_LONGEST_S = 120
_ENDS = {signal.SIGXCPU: "computes without an end", signal.SIGKILL: "takes more memory than there is"}


def admit(path: Path, options: EngineOptions, engine: str | None = None) -> str:
    """Let a model file pass that its engine can open without harm.

    Args:
        path: The model file.
        options: As for `open_engine`.
        engine: As for `open_engine`.

    Returns:
        Its `artifact_sha256`.

    Raises:
        ContractMismatchError: If its graph or weights are not those that its contract was written for.
        ModelFileError: If the engine cannot open it, or crashes, hangs or takes all memory when it tries.
        BadInputError: As `entry_for`.
        MissingExtraError: If the engine is not installed.
    """
    name, entry = entry_for(path, engine)
    digest = artifact_sha256(path)
    key = admission_key(digest, name, _installed(entry))
    if is_remembered(key):
        return digest
    # Also for an engine that cannot crash: what is known to be damaged is refused by its name.
    if not check_seal(path) and entry.may_crash:
        engine_for(path, engine)
        _try(path, options, name)
    remember(key)
    return digest


def _installed(entry: Entry) -> list[str]:
    """Which vendor would be imported, and since when: an upgrade has to show once more that it takes the file."""
    found = [find_spec(vendor) for vendor in entry.vendors]
    origins = [Path(spec.origin) for spec in found if spec is not None and spec.origin]
    return [f"{origin} {origin.stat().st_mtime_ns}" for origin in origins if origin.is_file()]


def _try(path: Path, options: EngineOptions, engine: str) -> None:
    if not sys.executable:
        _LOG.warning("%s: opened untried: Python is embedded here, so that there is no second process to try it", path)
        return
    # Imported here: a file of ours needs no trial, and on a board a megabyte counts.
    import subprocess

    command = [sys.executable, "-m", "edgex_runtime.trial", str(path), engine]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        trial = subprocess.run(command, env=environment, capture_output=True, timeout=_LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise _harmful(path, engine, f"does not come back from opening it within {_LONGEST_S} s") from error
    if trial.returncode < 0:
        ended_by = signal.Signals(-trial.returncode)
        raise _harmful(path, engine, f"{_ENDS.get(ended_by, 'crashes')} when it opens it ({ended_by.name})")
    # The trial is always the CPU's: another device may take what the CPU's code refuses.
    if trial.returncode == 0 and options.device in ("auto", "cpu"):
        refusal = json.loads(trial.stdout or b"null")
        if refusal is not None:
            raise ModelFileError(refusal)
    # Else the trial itself failed, by a fault that is not the file's: opening it here will name it.


def _harmful(path: Path, engine: str, what: str) -> ModelFileError:
    return ModelFileError(
        f"{path}: {engine} {what}, so it was not opened here: the file is damaged, or made for another version: "
        "copy it again, or convert the network again"
    )
