"""What `convert-model` takes: from the SOURCE that a user typed to a network and its contract.

A checkpoint is only built when something has to be run: its own contract says what it is, and torch is not imported
before (a conversion whose stages are all in the cache never does).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgex_converters.keys import code_digest
from edgex_converters.source import LazyNetwork, Source
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.provenance import file_sha256
from edgex_runtime.spec import InputSpec, ModelSpec, Resize, ResizeMode

if TYPE_CHECKING:
    from torch import nn

_WEIGHT_FILES = (".safetensors", ".h5", ".keras")


def _imagenet() -> Path:
    from edgex.networks.pretrained import imagenet_weights

    return imagenet_weights()


_NAMED: dict[str, Callable[[], Path]] = {"xception": _imagenet}


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
    spec = read_spec(path) if path.suffix.lower() == ".safetensors" else None
    if spec is not None:
        _refuse_overrides(path, missing)
    else:
        spec = _spec_of_weights(path, missing)
    sha256 = file_sha256(path)
    # The weights and the code that builds a network of them; what else decides is in the contract.
    identity = f"{sha256} {code_digest(Path(__file__).parent)}"
    return Source(network=LazyNetwork(partial(_build, path, spec), identity), spec=spec, sha256=sha256)


def _build(path: Path, spec: ModelSpec) -> "nn.Module":
    """The network that takes bytes; `spec` is its contract, the file's own or made of what the user said."""
    from edgex.networks.checkpoint import load_deployed
    from edgex.networks.deploy import Deployed
    from edgex.networks.weights import load_weights
    from edgex.networks.xception import Xception, XceptionConfig

    if path.suffix.lower() == ".safetensors" and read_spec(path) is not None:
        return load_deployed(path)
    network = Xception(XceptionConfig(classes=len(spec.labels)))
    load_weights(network, path)
    assert spec.normalise is not None  # `_spec_of_weights` puts it there.
    return Deployed(network, spec.normalise).eval()


def _spec_of_weights(path: Path, missing: Missing) -> ModelSpec:
    from edgex.networks.xception import NORMALISE, XceptionConfig

    labels = _labels(path, missing)
    if missing.resize is None:
        raise SpecError(
            f"{path}: nothing in it says how photos were resized in training: give --resize crop, stretch or letterbox"
        )
    size = XceptionConfig(classes=len(labels)).image_size
    try:
        resize = Resize(mode=missing.resize, crop_fraction=missing.crop_fraction)
        return ModelSpec(
            name=path.stem,
            labels=labels,
            input=InputSpec(height=size, width=size),
            resize=resize,
            normalise=NORMALISE,
        )
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from error


def _labels(path: Path, missing: Missing) -> tuple[str, ...]:
    if missing.labels is not None:
        try:
            lines = missing.labels.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{missing.labels}: want a text file with one label a line: {error}") from error
        return tuple(line.strip() for line in lines if line.strip())
    from edgex.networks.tensor_file import labels_in

    labels = labels_in(path) if path.suffix.lower() == ".safetensors" else None
    if labels is None:
        raise SpecError(f"{path}: nothing in it names its classes: give --labels FILE, one label a line")
    return labels


def _refuse_overrides(path: Path, missing: Missing) -> None:
    if missing.labels is not None or missing.resize is not None:
        raise SpecError(f"{path}: its own contract says labels and resize: leave --labels and --resize out")
