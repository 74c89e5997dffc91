"""What a model file says of itself, and whether it is true here: what `edgex inspect` prints."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from edgex_runtime.admission import admit
from edgex_runtime.engines.engine import EngineInfo, EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.errors import ContractMismatchError, MissingExtraError
from edgex_runtime.metadata.registry import artifact_files, artifact_sha256, read_spec
from edgex_runtime.model import Model
from edgex_runtime.selftest import check
from edgex_runtime.spec import ModelSpec

Verdict = Literal["passed", "failed", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A model file, read and tried.

    Attributes:
        files: All files of the model.
        size_bytes: Of them together.
        sha256: As `artifact_sha256`.
        spec: The contract.
        engine: Who ran the self-test; None where no engine for it is installed.
        verdict: Of the self-test; ``not run`` without an engine or without golden samples.
        why: Of a verdict other than ``passed``.
        field: What differs, where the self-test failed; see `ContractMismatchError`.
    """

    files: tuple[str, ...]
    size_bytes: int
    sha256: str
    spec: ModelSpec
    engine: EngineInfo | None
    verdict: Verdict
    why: str = ""
    field: str = ""


def inspect_model(
    path: Path, options: EngineOptions, *, engine: str | None = None, spec: str | PathLike[str] | None = None
) -> Inspection:
    """Read a model's contract and run its self-test.

    Args:
        path: The model file.
        options: For the engine that runs the self-test.
        engine: Its name; by default the one that the file's suffix is for.
        spec: For a file without a contract, as in `Model`.

    Raises:
        ModelFileError: If the file cannot be read or loaded.
        SpecError: If its contract is malformed or incomplete.
        ContractMismatchError: If the labels that other programs read in it are not the contract's.
        DeviceUnavailableError: If the device is not there.
    """
    carried = read_spec(path)
    if carried is None or spec is not None:
        with Model(path, engine=engine, device=options.device, threads=options.threads, spec=spec) as model:
            return _inspection(path, model.spec, model.engine.info, "not run", "a foreign model has no golden samples")
    try:
        digest = admit(path, options, engine)
        opened = open_engine(path, options, engine)
    except MissingExtraError as error:
        return _inspection(path, carried, None, "not run", str(error))
    except ContractMismatchError as error:
        return _inspection(path, carried, None, "failed", str(error), error.field)
    try:
        check(opened, carried, digest)
    except ContractMismatchError as error:
        return _inspection(path, carried, opened.info, "failed", str(error), error.field)
    finally:
        opened.close()
    if carried.golden is None:
        return _inspection(path, carried, opened.info, "not run", "it has no golden samples")
    return _inspection(path, carried, opened.info, "passed")


def _inspection(
    path: Path, spec: ModelSpec, engine: EngineInfo | None, verdict: Verdict, why: str = "", field: str = ""
) -> Inspection:
    files = artifact_files(path)
    return Inspection(
        files=tuple(map(str, files)),
        size_bytes=sum(file.stat().st_size for file in files),
        sha256=artifact_sha256(path),
        spec=spec,
        engine=engine,
        verdict=verdict,
        why=why,
        field=field,
    )
