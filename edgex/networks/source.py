"""What `convert-model` takes: from the SOURCE that a user typed to a network and its contract."""

import re
from collections.abc import Callable
from pathlib import Path

from edgex.networks.checkpoint import load_checkpoint
from edgex.networks.deploy import Deployed
from edgex.networks.pretrained import imagenet_weights
from edgex.networks.sources.contract import complete, contract_of, read_labels
from edgex.networks.sources.offer import Missing, Offer
from edgex.networks.sources.registry import FILES, FUNCTION, SCHEMES, load
from edgex.networks.weights import labels_in, load_weights
from edgex.networks.xception import NORMALISE, Xception, XceptionConfig
from edgex_converters.pipeline import Source
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.provenance import file_sha256
from edgex_runtime.spec import ModelSpec

__all__ = ["GRAMMAR", "Missing", "resolve"]

_WEIGHT_FILES = (".safetensors", ".h5", ".keras")
_NAMED: dict[str, Callable[[], Path]] = {"xception": imagenet_weights}
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_SCHEMES = {**SCHEMES, **FILES}
GRAMMAR = ", ".join(
    [
        "a checkpoint (.safetensors)",
        f"Xception weights ({', '.join(_WEIGHT_FILES)})",
        "xception",
        *(scheme.example for scheme in (*_SCHEMES.values(), FUNCTION)),
    ]
)


def resolve(source: str, missing: Missing) -> Source:
    """Load what `source` names.

    Args:
        source: A checkpoint of ours; weights of an Xception by Keras's or timm's names (`.safetensors`, `.h5`,
            `.keras`); ``xception`` for the ImageNet weights from the Hugging Face hub; a row of
            `sources.registry`: ``timm:NAME``, ``torchvision:NAME``, ``keras:NAME``, ``package.module:function``, a
            file ``.pt2``.
        missing: What the source leaves open.

    Raises:
        BadInputError: If the source is none of these.
        MissingExtraError: If the library that it names is not installed.
        SpecError: If something is not said by the source nor in `missing`, or said by both.
        WeightsError: If the weights do not fit.
    """
    path = Path(source)
    scheme, colon, name = source.partition(":")
    if source in _NAMED:
        return _ours(_NAMED[source](), missing)
    if path.is_file() and path.suffix.lower() in _WEIGHT_FILES:
        return _ours(path, missing)
    if path.is_file() and path.suffix.lower() in FILES:
        return complete(source, load(FILES[path.suffix.lower()], source, source, missing), missing)
    if colon and name and scheme in SCHEMES:
        return complete(source, load(SCHEMES[scheme], source, name, missing), missing)
    if _FUNCTION.fullmatch(source):
        return complete(source, load(FUNCTION, source, source, missing), missing)
    if path.is_file() and path.suffix.lower() == ".onnx":
        raise BadInputError(
            f"{path}: want a torch network to convert, got an ONNX file: give the torch network that it came from, as "
            "package.module:function or .pt2; edgex live and edgex eval run the file as it is with --spec spec.toml"
        )
    found = f"a {path.suffix or 'suffixless'} file" if path.is_file() else "no such file"
    raise BadInputError(f"{source}: want {GRAMMAR}, got {found}")


def _ours(path: Path, missing: Missing) -> Source:
    """A network of ours, whose code is here."""
    for flag in ("weights", "input_size", "mean", "std"):
        if getattr(missing, flag) is not None:
            raise SpecError(f"{path}: its weights, size and scaling are known: leave --{flag.replace('_', '-')} out")
    if path.suffix.lower() == ".safetensors" and read_spec(path) is not None:
        network, spec = load_checkpoint(path)
        _refuse_overrides(path, missing)
    else:
        network, spec = _load_weights(path, missing)
    assert spec.normalise is not None  # A checkpoint's contract has it, and so has the offer.
    return Source(network=Deployed(network, spec.normalise).eval(), spec=spec, sha256=file_sha256(path))


def _load_weights(path: Path, missing: Missing) -> tuple[Xception, ModelSpec]:
    """An Xception whose file says little more than its weights."""
    labels = read_labels(missing)
    if labels is None and path.suffix.lower() == ".safetensors":
        labels = labels_in(path)
    config = XceptionConfig(classes=len(labels)) if labels else XceptionConfig()
    network, size = Xception(config), (config.image_size, config.image_size)
    known = Offer(network=network, title=path.stem, sha256="", labels=labels, input_size=size, normalise=NORMALISE)
    spec = contract_of(str(path), known, missing)
    load_weights(network, path)
    return network, spec


def _refuse_overrides(path: Path, missing: Missing) -> None:
    if missing.labels is not None or missing.resize is not None:
        raise SpecError(f"{path}: its own contract says labels and resize: leave --labels and --resize out")
