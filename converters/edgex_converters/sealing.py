"""What is written into an artifact at the end, and how a contract that was recorded before is written again."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from edgex_converters.config import ConvertConfig
from edgex_converters.delivery import copy_artifact
from edgex_converters.recipes import plan
from edgex_converters.result import Outcome
from edgex_converters.source import Source
from edgex_converters.work import SEAL
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.provenance import tool_versions
from edgex_runtime.schema import from_plain
from edgex_runtime.spec import DatasetRef, Golden, ModelSpec, Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What only a run of the artifact could tell, and when it was run.

    Attributes:
        golden: Its logits for the golden images.
        date: For the provenance.
        sha256: Of the sealed artifact.
    """

    golden: Golden
    date: str
    sha256: str


def contract(source: Source, config: ConvertConfig, outcome: Outcome, made_with: tuple[DatasetRef, ...]) -> ModelSpec:
    """An artifact's contract, without its golden logits and its date.

    Args:
        source: What was converted.
        config: How.
        outcome: What was measured.
        made_with: The photos that calibrated or judged it.
    """
    spec, target = source.spec, outcome.target
    tools = tool_versions(tool for stage in plan([target]) for tool in stage.tools)
    return replace(
        spec,
        name=config.name,
        precision=target.precision,
        evidence=(*spec.evidence, *outcome.evidence),
        provenance=Provenance(
            source_sha256=source.sha256,
            tools=tools,
            datasets=(*spec.provenance.datasets, *made_with),
            command=config.command,
        ),
    )


def read_recorded(folder: Path) -> Recorded:
    """What `work.seal` has noted."""
    path = folder / SEAL
    return from_plain(Recorded, json.loads(path.read_text(encoding="utf-8")), where=str(path))


def seal_again(raw: Path, sealed: Path, spec: ModelSpec, recorded: Recorded) -> None:
    """Write the contract of an earlier run into a copy of the same artifact: the same bytes, and nothing is run."""
    copy_artifact(raw, sealed)
    write_spec(sealed, dated(replace(spec, golden=recorded.golden), recorded.date))


def dated(spec: ModelSpec, date: str) -> ModelSpec:
    """`spec` with the date of its making."""
    return replace(spec, provenance=replace(spec.provenance, date=date))
