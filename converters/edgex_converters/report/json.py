"""`report.json`: a whole conversion as data; the page is drawn from the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex_converters.config import ConvertConfig
from edgex_converters.recipes import plan
from edgex_converters.report.layers import layers_of
from edgex_converters.result import Conversion, Outcome, Step
from edgex_converters.stage import Stage
from edgex_runtime import provenance
from edgex_runtime.atomic import atomic_write
from edgex_runtime.schema import to_plain

SCHEMA_VERSION = 1


def report_of(conversion: Conversion, config: ConvertConfig) -> dict[str, Any]:
    """Everything that was measured, as what `json.dumps` takes; shares are 0..1, times in milliseconds or seconds."""
    labels = conversion.spec.labels
    learned = {"learned_ranges": conversion.learned_ranges} if conversion.learned_ranges else {}
    return learned | {
        "schema": SCHEMA_VERSION,
        "name": config.name,
        "labels": list(labels),
        "command": config.command,
        "date": provenance.now(),
        "machine": provenance.machine(),
        "network": to_plain(conversion.spec.network),
        "evaluation": {
            "path": str(config.evaluation),
            "images": len(conversion.labels),
            "reference_accuracy": conversion.reference_accuracy,
        },
        "calibration": _calibration(conversion),
        "warnings": list(conversion.warnings),
        "gates": to_plain(config.gates),
        "quantize": to_plain(config.quantize),
        "tools": dict(conversion.versions),
        "reference_confusion": confusion(conversion.reference, conversion.labels, len(labels)),
        "pipeline": _pipeline(conversion),
        "artifacts": [_artifact(outcome, conversion) for outcome in conversion.outcomes],
    }


def write_json(report: dict[str, Any], path: Path) -> None:
    """Write a report, atomically."""
    with atomic_write(path) as file:
        file.write((json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def confusion(logits: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> list[list[int]]:
    """Rows are the true classes, columns the predicted ones."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, logits.argmax(1)), 1)
    rows: list[list[int]] = counts.tolist()
    return rows


def _calibration(conversion: Conversion) -> dict[str, Any] | None:
    if conversion.calibration is None:
        return None
    return {**to_plain(conversion.calibration), "classes": dict(conversion.calibration_classes)}


def _pipeline(conversion: Conversion) -> list[dict[str, Any]]:
    """Every stage that was planned, each after the one that it starts from."""
    asked = {outcome.target: outcome for outcome in conversion.outcomes}
    made = asked | {outcome.target: outcome for outcome in conversion.intermediates}
    return [_planned(stage, made[stage.ensures], asked=stage.ensures in asked) for stage in plan(asked)]


def _planned(stage: Stage, outcome: Outcome, *, asked: bool) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "from": None if stage.requires is None else str(stage.requires),
        "to": str(stage.ensures),
        "format": stage.ensures.format,
        "precision": stage.ensures.precision,
        "asked": asked,
        "status": outcome.status,
        "why": outcome.why,
        "steps": [_step(step) for step in outcome.steps],
    }


def _artifact(outcome: Outcome, conversion: Conversion) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "format": outcome.target.format,
        "precision": outcome.target.precision,
        "status": outcome.status,
        "why": outcome.why,
        "file": str(outcome.path) if outcome.path else None,
        "bytes": outcome.bytes,
        "seconds": round(outcome.seconds, 3),
        "steps": [_step(step) for step in outcome.steps],
        "ms": outcome.ms,
        "metrics": dict(outcome.measured.metrics) if outcome.measured else None,
        "evidence": to_plain(outcome.evidence),
        "layers": layers_of(outcome),
        "remarks": list(outcome.remarks),
        "repairs": to_plain(outcome.repairs),
    }
    if outcome.logits is not None:
        labels = conversion.spec.labels
        differs = np.flatnonzero(outcome.logits.argmax(1) != conversion.reference.argmax(1))
        entry["confusion"] = confusion(outcome.logits, conversion.labels, len(labels))
        entry["disagreements"] = [
            {
                "photo": str(conversion.paths[index]),
                "label": labels[conversion.labels[index]],
                "reference": labels[conversion.reference[index].argmax()],
                "artifact": labels[outcome.logits[index].argmax()],
            }
            for index in differs.tolist()
        ]
    return entry


def _step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "seconds": round(step.seconds, 3),
        "cached": step.cached,
        "reproduced": step.reproduced,
    }
