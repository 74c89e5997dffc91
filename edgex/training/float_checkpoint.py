"""The float network that is fine-tuned for int8: what it is, and that the run's settings fit it."""

from dataclasses import dataclass, replace
from pathlib import Path

from edgex.networks.checkpoint import load_checkpoint
from edgex.networks.deploy import Deployed
from edgex.networks.ranges import read_ranges
from edgex.networks.source import Missing, resolve
from edgex.networks.tensor_file import labels_in
from edgex.networks.xception import NORMALISE, Xception
from edgex.training.config import TrainConfig
from edgex.training.folds import resize_spec
from edgex_runtime.errors import BadInputError
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.spec import ModelSpec

_TAKEN = ("width", "middle_blocks", "image_size", "resize", "crop_fraction")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatCheckpoint:
    """What was trained before: the file, its network, its contract."""

    path: Path
    network: Xception
    spec: ModelSpec


def open_checkpoint(path: Path, config: TrainConfig) -> FloatCheckpoint:
    """Load a checkpoint that can be trained for int8, or the weights of a whole Xception that name their classes.

    Raises:
        BadInputError: If there is none, it has learned ranges already, or is no float checkpoint of this edgex; if it
            holds weights alone and does not say which classes they know.
        SpecError: If it is no checkpoint of ours, or weights alone and `config` does not say how photos are resized.
        WeightsError: If its weights are not those of its network.
    """
    if not path.is_file():
        raise BadInputError(f"--qat: want a checkpoint of `edgex train`, found no file {path}")
    if path.suffix.lower() != ".safetensors":
        raise BadInputError(
            f"--qat: want a float checkpoint (.safetensors), got {path}: a converted file cannot be trained; give the "
            "checkpoint that it was made from"
        )
    if read_ranges(path) is not None:
        raise BadInputError(
            f"--qat: {path} has learned its ranges already: convert it, or start again from its float checkpoint"
        )
    network, spec = load_checkpoint(path) if read_spec(path) is not None else _of_weights(path, config)
    if spec.precision != "fp32" or spec.normalise != NORMALISE:
        raise BadInputError(
            f"--qat: {path}: want an fp32 checkpoint scaled by {NORMALISE}, got {spec.precision} and {spec.normalise}"
        )
    return FloatCheckpoint(path=path, network=network.eval(), spec=spec)


def _of_weights(path: Path, config: TrainConfig) -> tuple[Xception, ModelSpec]:
    """A network whose file says little more than its weights, as `convert-model` reads it."""
    if labels_in(path) is None:
        raise BadInputError(
            f"--qat: {path} holds weights without a contract, and nothing says which classes it knows: want a JSON "
            "list under 'labels' in its header"
        )
    source = resolve(str(path), Missing(resize=config.resize, crop_fraction=config.crop_fraction))
    deployed = source.lazy_network().module()
    assert isinstance(deployed, Deployed), "a file of weights is an Xception's"
    assert isinstance(deployed.network, Xception), "a file of weights is an Xception's"
    return deployed.network, source.spec


def adopt(config: TrainConfig, checkpoint: FloatCheckpoint) -> TrainConfig:
    """`config` with the checkpoint's network and preprocessing.

    Raises:
        BadInputError: If a flag says something else than the checkpoint.
    """
    settings, spec = checkpoint.network.config, checkpoint.spec
    found: dict[str, object] = {
        "width": settings.width,
        "middle_blocks": settings.middle_blocks,
        "image_size": settings.image_size,
        "resize": spec.resize.mode,
        "crop_fraction": spec.resize.crop_fraction,
    }
    plain = TrainConfig(data=config.data)
    for name in _TAKEN:
        given = getattr(config, name)
        if given not in (getattr(plain, name), found[name]):
            raise BadInputError(
                f"--{name.replace('_', '-')}: {checkpoint.path} was trained with {found[name]}, got {given}: "
                "leave the flag out, the checkpoint says it"
            )
    adopted = replace(config, **found)  # type: ignore[arg-type]  # The fields' own types, by name.
    if resize_spec(adopted) != spec.resize:
        raise BadInputError(
            f"--qat: {checkpoint.path} was trained on photos resized by {spec.resize}, this edgex trains on "
            f"{resize_spec(adopted)}: train the float network anew"
        )
    return adopted
