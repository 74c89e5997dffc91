"""What a checkpoint says of itself: the contract that every artifact made from it inherits."""

import dataclasses
import math
import shlex
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from edgex.networks.xception import NORMALISE
from edgex.training.config import TrainConfig
from edgex.training.folds import input_spec, resize_spec
from edgex.training.metrics import Scores
from edgex.training.split import Sample, Split
from edgex_runtime.dataset import fingerprint_of
from edgex_runtime.spec import DatasetRef, Evidence, ModelSpec, Provenance

STAGE = "train"
_TOOLS = ("edgex", "torch", "numpy", "opencv-python-headless", "opencv-python", "pillow")


def contract(config: TrainConfig, split: Split, scores: Scores, *, places: tuple[Path, Path]) -> ModelSpec:
    """The contract of a network that scored `scores` on the val fold.

    Args:
        config: Resolved.
        split: The run's photos.
        scores: Of the very weights that will be saved.
        places: The folders of the train and the val fold.
    """
    assert config.name is not None, "a resolved config has a name"
    datasets = (_ref("train", places[0], split.train), _ref("val", places[1], split.val))
    return ModelSpec(
        name=config.name,
        labels=split.labels,
        input=input_spec(config),
        resize=resize_spec(config),
        normalise=NORMALISE,
        provenance=Provenance(
            tools=_tool_versions(),
            datasets=datasets,
            command=command(config),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ),
        evidence=(_evidence(split, scores),),
    )


def wilson(share: float, count: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Interval of a share of `count` trials (Wilson 1927); z is the normal quantile, 95 % by default.

    >>> [round(bound, 3) for bound in wilson(0.9, 100)]
    [0.826, 0.945]
    """
    middle = share + z * z / (2 * count)
    margin = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - margin) / scale), min(1.0, (middle + margin) / scale)


def command(config: TrainConfig) -> str:
    """The command line that makes this run, with every setting that is not the default."""
    words = ["edgex", "train"]
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if value == item.default or item.name in ("resume", "overwrite"):
            continue
        name = item.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def _evidence(split: Split, scores: Scores) -> Evidence:
    low, high = wilson(scores.top1, scores.count)
    metrics = {"top1": scores.top1, "top1_low": low, "top1_high": high, "loss": scores.loss}
    if scores.top5 is not None:
        metrics["top5"] = scores.top5
    return Evidence(
        stage=STAGE,
        metrics=metrics,
        images=scores.count,
        fingerprint=_digest(split.val),
        gate="none: training measures on the val fold, and keeps the best epoch",
        passed=True,
    )


def _ref(role: Literal["train", "val"], place: Path, samples: tuple[Sample, ...]) -> DatasetRef:
    return DatasetRef(role=role, path=str(place.resolve()), count=len(samples), fingerprint=_digest(samples))


def _digest(samples: tuple[Sample, ...]) -> str:
    return fingerprint_of(sample.sha256 for sample in samples)


def _tool_versions() -> dict[str, str]:
    found = {}
    for tool in _TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found
