"""What `convert-model` takes: from the SOURCE that a user typed to a network and its contract."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgex.networks.checkpoint import load_checkpoint
from edgex.networks.deploy import Deployed
from edgex.networks.pretrained import imagenet_weights
from edgex.networks.weights import labels_in, load_weights
from edgex.networks.xception import NORMALISE, Xception, XceptionConfig
from edgex_converters.pipeline import Source
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.provenance import file_sha256
from edgex_runtime.spec import InputSpec, ModelSpec, Resize, ResizeMode

_WEIGHT_FILES = (".safetensors", ".h5", ".keras")
_NAMED: dict[str, Callable[[], Path]] = {"xception": imagenet_weights}


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What weights without a contract do not say, and the user has to.

    Attributes:
        labels: A text file with one label a line, in the order of the logits.
        resize: How photos become the network's input.
        crop_fraction: With the resize ``crop``.
    """

    labels: Path | None = None
    resize: ResizeMode | None = None
    crop_fraction: float = 1.0


def resolve(source: str, missing: Missing) -> Source:
    """Load what `source` names.

    Args:
        source: A checkpoint of ours; weights of an Xception by Keras's or timm's names (`.safetensors`, `.h5`,
            `.keras`); ``xception`` for the ImageNet weights from the Hugging Face hub.
        missing: What a file without a contract leaves open.

    Raises:
        BadInputError: If the source is none of these.
        SpecError: If something is not said by the file nor in `missing`, or said by both.
        WeightsError: If the weights do not fit.
    """
    path = _NAMED[source]() if source in _NAMED else Path(source)
    if not path.is_file() or path.suffix.lower() not in _WEIGHT_FILES:
        found = "no such file" if not path.is_file() else f"a {path.suffix or 'suffixless'} file"
        raise BadInputError(
            f"{source}: want a checkpoint (.safetensors), Xception weights ({', '.join(_WEIGHT_FILES)}) or "
            f"'xception', got {found}"
        )
    if path.suffix.lower() == ".safetensors" and read_spec(path) is not None:
        network, spec = load_checkpoint(path)
        _refuse_overrides(path, missing)
    else:
        network, spec = _load_weights(path, missing)
    assert spec.normalise is not None  # A checkpoint's contract has it, and `_load_weights` puts it there.
    return Source(network=Deployed(network, spec.normalise).eval(), spec=spec, sha256=file_sha256(path))


def _load_weights(path: Path, missing: Missing) -> tuple[Xception, ModelSpec]:
    labels = _labels(path, missing)
    if missing.resize is None:
        raise SpecError(
            f"{path}: nothing in it says how photos were resized in training: give --resize crop, stretch or letterbox"
        )
    network = Xception(XceptionConfig(classes=len(labels)))
    load_weights(network, path)
    size = network.config.image_size
    try:
        resize = Resize(mode=missing.resize, crop_fraction=missing.crop_fraction)
        spec = ModelSpec(
            name=path.stem,
            labels=labels,
            input=InputSpec(height=size, width=size),
            resize=resize,
            normalise=NORMALISE,
        )
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from error
    return network, spec


def _labels(path: Path, missing: Missing) -> tuple[str, ...]:
    if missing.labels is not None:
        try:
            lines = missing.labels.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{missing.labels}: want a text file with one label a line: {error}") from error
        return tuple(line.strip() for line in lines if line.strip())
    labels = labels_in(path) if path.suffix.lower() == ".safetensors" else None
    if labels is None:
        raise SpecError(f"{path}: nothing in it names its classes: give --labels FILE, one label a line")
    return labels


def _refuse_overrides(path: Path, missing: Missing) -> None:
    if missing.labels is not None or missing.resize is not None:
        raise SpecError(f"{path}: its own contract says labels and resize: leave --labels and --resize out")
