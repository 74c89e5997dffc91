"""The whole state of a run after an epoch, in one `.safetensors` file: what `--resume` goes on from."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from edgex.training.observer import EpochMetrics
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import BadInputError
from edgex_runtime.schema import from_plain, to_plain

SCHEMA = 1
_KEY = "edgex_training"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come.

    Attributes:
        config: `TrainConfig.numbers` of the run.
        history: A line for every epoch that is done.
        best: Which of them was best, counted from 0.
        scalars: `Learner.scalars`.
        weights_sha256: Of the weights that the run began with; empty for random ones.
        schema: Version of this file.
    """

    config: dict[str, bool | int | float | str | None]
    history: tuple[EpochMetrics, ...]
    best: int
    scalars: dict[str, float]
    weights_sha256: str = ""
    schema: int = SCHEMA


def save_state(path: Path, progress: Progress, tensors: dict[str, Tensor]) -> None:
    """Write the state; a kill at any moment leaves the old file or the new one."""
    # Contiguous copies: the format has no strides, and channels-last weights have unusual ones.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = json.dumps(to_plain(progress), allow_nan=False)
    with atomic_write(path) as file:
        file.write(to_bytes(plain, metadata={_KEY: header}))


def load_state(path: Path) -> tuple[Progress, dict[str, Tensor]]:
    """Read what `save_state` wrote.

    Raises:
        BadInputError: If the file is not a state of this schema.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (OSError, SafetensorError) as error:
        raise BadInputError(f"{path}: want the state of a training run: {error}") from error
    if header is None:
        raise BadInputError(f"{path}: want the state of a training run, got another safetensors file")
    return from_plain(Progress, json.loads(header), where=str(path)), tensors


def check_same_run(then: Progress, now: dict[str, Any], *, weights_sha256: str) -> None:
    """Hold a resumed run to the settings that it began with.

    Raises:
        BadInputError: Naming each setting that differs.
    """
    differing = [
        f"--{name.replace('_', '-')} was {then.config.get(name)!r} and is {value!r}"
        for name, value in now.items()
        if then.config.get(name) != value
    ]
    if then.weights_sha256 != weights_sha256:
        differing.append(f"--weights had sha256 {then.weights_sha256[:12]}… and has {weights_sha256[:12]}…")
    if differing:
        raise BadInputError(
            f"--resume: {'; '.join(differing)}: give the settings as they were, or begin a new run with --overwrite or "
            "another -o"
        )
