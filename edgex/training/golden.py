"""The end of a checkpoint's contract: what it answers to the golden images, by the engine that will check it."""

from dataclasses import replace
from pathlib import Path

from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.errors import SpecError
from edgex_runtime.metadata.registry import read_spec, write_spec
from edgex_runtime.selftest import record_golden
from edgex_runtime.spec import ModelSpec


def seal(checkpoint: Path) -> ModelSpec:
    """Record a checkpoint's golden samples in its contract; returns the contract.

    Raises:
        SpecError: If the file has none.
        ContractMismatchError: If the network does not do what its contract says.
    """
    spec = read_spec(checkpoint)
    if spec is None:
        raise SpecError(f"{checkpoint}: want a checkpoint with a contract, found weights alone")
    # Always on the CPU: the record is what every board is held to.
    engine = open_engine(checkpoint, EngineOptions(device="cpu"))
    try:
        sealed = replace(spec, golden=record_golden(engine, spec))
    finally:
        engine.close()
    write_spec(checkpoint, sealed)
    return sealed
