"""What `convert-model` takes: from the SOURCE that a user typed to a network and its contract.

A network of ours is only built when something has to be run: its contract stands without it, and torch is not imported
before (a conversion whose stages are all in the cache never does).
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgex.networks.sources.contract import contract_of, read_labels
from edgex.networks.sources.facts import Facts, Missing
from edgex.networks.sources.registry import FILES, FUNCTION, SCHEMES, Scheme, load
from edgex_converters.keys import code_digest
from edgex_converters.learned import Ranges
from edgex_converters.source import LazyNetwork, Source
from edgex_runtime.errors import BadInputError, MissingExtraError, SpecError
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.provenance import file_sha256
from edgex_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["GRAMMAR", "Missing", "resolve"]


def _imagenet() -> Path:
    from edgex.networks.pretrained import imagenet_weights

    return imagenet_weights()


_ONNX = ".onnx"
_WEIGHT_FILES = (".safetensors", ".h5", ".keras")
_NAMED: dict[str, Callable[[], Path]] = {"xception": _imagenet}
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_SCHEMES = {**SCHEMES, **FILES}
GRAMMAR = ", ".join(
    [
        "a checkpoint (.safetensors)",
        f"Xception weights ({', '.join(_WEIGHT_FILES)})",
        "xception",
        *(scheme.example for scheme in (*_SCHEMES.values(), FUNCTION)),
        "model.onnx",
    ]
)


def resolve(source: str, missing: Missing) -> Source:
    """Load what `source` names.

    Args:
        source: A checkpoint of ours; weights of an Xception by Keras's or timm's names (`.safetensors`, `.h5`,
            `.keras`); ``xception`` for the ImageNet weights from the Hugging Face hub; a row of
            `sources.registry`: ``timm:NAME``, ``torchvision:NAME``, ``keras:NAME``, ``package.module:function``, a
            file ``.pt2``; an ``.onnx`` file that others made.
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
    if path.is_file() and path.suffix.lower() == _ONNX:
        return _onnx_file(path, missing)
    if missing.color is not None:
        raise SpecError(f"{source}: the order of its channels is known: leave --color out")
    if path.is_file() and path.suffix.lower() in FILES:
        return _theirs(FILES[path.suffix.lower()], source, source, missing)
    if colon and name and scheme in SCHEMES:
        return _theirs(SCHEMES[scheme], source, name, missing)
    if _FUNCTION.fullmatch(source):
        return _theirs(FUNCTION, source, source, missing)
    found = f"a {path.suffix or 'suffixless'} file" if path.is_file() else "no such file"
    raise BadInputError(f"{source}: want {GRAMMAR}, got {found}")


def _theirs(scheme: Scheme, source: str, rest: str, missing: Missing) -> Source:
    """A network whose code is a library's or the user's."""
    offer = load(scheme, source, rest, missing)
    from edgex.networks.sources.complete import complete

    return complete(source, offer, missing)


def _onnx_file(path: Path, missing: Missing) -> Source:
    """A file that others made, which no torch network stands behind."""
    try:
        from edgex.networks.sources.onnx import source_of
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "onnxruntime"):
            raise
        raise MissingExtraError(
            f"{path} needs {error.name!r}, which is not installed: pip install 'edgex[convert]'"
        ) from error
    return source_of(path, missing)


def _ours(path: Path, missing: Missing) -> Source:
    """A network whose code is here."""
    for flag in ("weights", "input_size", "mean", "std", "color"):
        if getattr(missing, flag) is not None:
            raise SpecError(f"{path}: its weights, size and scaling are known: leave --{flag.replace('_', '-')} out")
    spec = read_spec(path) if path.suffix.lower() == ".safetensors" else None
    if spec is not None:
        _refuse_overrides(path, missing)
    else:
        spec = _spec_of_weights(path, missing)
    sha256 = file_sha256(path)
    # The weights and the code that builds a network of them; what else decides is in the contract.
    identity = f"{sha256} {code_digest(Path(__file__).parent)}"
    network = LazyNetwork(partial(_build, path, spec), identity)
    return Source(network=network, spec=spec, sha256=sha256, ranges=_learned_ranges(path))


def _learned_ranges(path: Path) -> Ranges | None:
    if path.suffix.lower() != ".safetensors":
        return None
    from edgex.networks.ranges import read_ranges

    return read_ranges(path)


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
    """Of an Xception whose file says little more than its weights."""
    from edgex.networks.tensor_file import labels_in
    from edgex.networks.xception import NORMALISE, XceptionConfig

    labels = read_labels(missing)
    if labels is None and path.suffix.lower() == ".safetensors":
        labels = labels_in(path)
    side = XceptionConfig().image_size
    facts = Facts(title=path.stem, sha256="", labels=labels, input_size=(side, side), normalise=NORMALISE)
    return contract_of(str(path), facts, missing)


def _refuse_overrides(path: Path, missing: Missing) -> None:
    if missing.labels is not None or missing.resize is not None:
        raise SpecError(f"{path}: its own contract says labels and resize: leave --labels and --resize out")
