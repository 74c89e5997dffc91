"""`torchvision:NAME`: its classification networks, whose weights carry their transforms and categories."""

import difflib
import logging
from typing import Any

from torch import nn

from edgex.networks.sources.contract import distinct
from edgex.networks.sources.facts import Missing, Size
from edgex.networks.sources.offer import Offer, weights_sha256
from edgex.networks.sources.pretrained_cfg import bytes_scale
from edgex.networks.sources.state import build_without_published
from edgex.networks.sources.torch_build import torchvision_fits
from edgex_runtime.errors import BadInputError

with torchvision_fits():
    from torchvision import models

_log = logging.getLogger(__name__)


def load(source: str, name: str, missing: Missing) -> Offer:
    """Build a network of torchvision's.

    Raises:
        BadInputError: If torchvision has no such network, or its weights cannot be fetched.
        SpecError: If its classes are said by nobody.
        WeightsError: If the user's weights do not fit.
    """
    _require_known(source, name)
    weights = missing.weights or "default"
    published = models.get_model_weights(name).DEFAULT
    network = _build(source, name, published, weights, missing)
    preset = published.transforms()
    if preset.interpolation.value != "bilinear":
        _log.warning(
            "%s: torchvision resizes by %s interpolation, edgex by its own halving-linear one, at its crop and size",
            source,
            preset.interpolation.value,
        )
    size = int(preset.crop_size[0])
    return Offer(
        network=network.eval(),
        title=name,
        sha256=weights_sha256(network, weights),
        labels=distinct(tuple(published.meta["categories"])) if weights == "default" else None,
        input_size=(size, size),
        resize="crop",
        crop_fraction=min(1.0, size / int(preset.resize_size[0])),
        normalise=bytes_scale(preset.mean, preset.std),
    )


def _require_known(source: str, name: str) -> None:
    # `module` keeps to classification: detection and video have modules of their own.
    known = models.list_models(module=models)
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(known)}"
    raise BadInputError(f"{source}: torchvision has no classification network of that name; {hint}")


def _build(source: str, name: str, published: Any, weights: str, missing: Missing) -> nn.Module:
    """The network with its weights."""
    size = _size_argument(name, missing.input_size)
    if weights != "default":

        def build(classes: int) -> nn.Module:
            network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **size)
            return network

        return build_without_published(source, missing, build)
    try:
        network: nn.Module = models.get_model(name, weights=published, **size)
    # What urllib raises, and torch.hub where it cannot write into its folder.
    except OSError as error:
        raise BadInputError(
            f"{source}: want its weights from {published.url}, cannot get them: {error}; fetch that file on a machine "
            "with a network into the folder checkpoints of TORCH_HOME, or give --weights FILE, or --weights none for a "
            "try with random ones"
        ) from error
    return network


def _size_argument(name: str, size: Size | None) -> dict[str, int]:
    """Only transformers of one fixed size have the argument; it is their side."""
    if size is None or size[0] != size[1] or not name.startswith("vit"):
        return {}
    return {"image_size": size[0]}
