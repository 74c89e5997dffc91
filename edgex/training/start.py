"""What a run begins with: a new network, and the weights that were given for it."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from edgex.networks.weights import load_weights
from edgex.networks.xception import Xception, XceptionConfig
from edgex.training.config import TrainConfig
from edgex.training.trunk import covered_blocks, new_network
from edgex_runtime.errors import BadInputError, WeightsError

IMAGENET = "imagenet"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """A network before its first step.

    Attributes:
        network: In float32 on the CPU.
        missing: Names of its tensors that the weights did not give; all of them without weights.
        sha256: Of the weights' file; empty without weights.
    """

    network: Xception
    missing: tuple[str, ...]
    sha256: str


def begin(config: TrainConfig, *, classes: int) -> Start:
    """Build the network and load what weights there are; the log names what they leave at its random start.

    Raises:
        BadInputError: If the settings are not those of a network, or the ImageNet weights cannot be fetched.
        WeightsError: If the weights cannot be read, hold what the network has not, or do not cover its first block.
    """
    try:
        settings = XceptionConfig(
            width=config.width,
            middle_blocks=config.middle_blocks,
            image_size=config.image_size,
            classes=classes,
            dropout=config.dropout,
        )
    except ValueError as error:
        raise BadInputError(str(error)) from error
    network = new_network(settings, seed=config.seed)
    if config.weights is None:
        return Start(network=network, missing=tuple(network.state_dict()), sha256="")
    path = _weights_path(config.weights)
    report = load_weights(network, path, allow_missing=lambda _: True)
    covered = covered_blocks(network, report.missing)
    if not covered:
        raise WeightsError(
            f"{path}: want weights that cover at least block1 of {settings}, of which it lacks, or has in another "
            f"shape, {', '.join(name for name in report.missing if name.startswith('block1.'))}: "
            "give the --width and --middle-blocks that the file was made with"
        )
    log.info("%s: covers %s to %s, %d tensors in all", path, covered[0], covered[-1], len(report.loaded))
    half_open = sorted({name.split(".")[0] for name in report.missing} & {name.split(".")[0] for name in report.loaded})
    if half_open:
        log.info("of %s only a part is in the weights, which is loaded as a start", ", ".join(half_open))
    if report.missing:
        log.info("not in the weights, new from seed %d: %s", config.seed, ", ".join(report.missing))
    return Start(network=network, missing=report.missing, sha256=_sha256(path))


def _weights_path(weights: str) -> Path:
    if weights != IMAGENET:
        path = Path(weights)
        if not path.is_file():
            raise WeightsError(f"--weights: want a file of weights or {IMAGENET!r}, found no file {weights}")
        return path
    # The hub's client is needed by this one choice only.
    from edgex.networks.pretrained import imagenet_weights

    return imagenet_weights()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
