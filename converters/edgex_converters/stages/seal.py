"""Writes the contract into an artifact: what it is, where it comes from, what was measured, what to hold it to."""

from dataclasses import replace
from pathlib import Path

from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.model import Model
from edgex_runtime.selftest import record_golden
from edgex_runtime.spec import ModelSpec


def run(path: Path, spec: ModelSpec, *, threads: int | None) -> ModelSpec:
    """Record the artifact's golden logits, write `spec` with them, and load the file as a user would.

    Returns:
        The contract as written.

    Raises:
        ContractMismatchError: If the sealed file does not pass its own self-test.
    """
    engine = open_engine(path, EngineOptions(threads=threads))
    try:
        golden = record_golden(engine, spec)
    finally:
        engine.close()
    written = replace(spec, golden=golden)
    write_spec(path, written)
    Model(path, threads=threads).close()
    return written
