"""`timm:NAME`: PyTorch Image Models, whose `pretrained_cfg` says size, crop, mean and std."""

import difflib
import logging
from typing import Any

from torch import nn

from edgex.networks.pretrained import HUB_ERRORS
from edgex.networks.sources.contract import distinct
from edgex.networks.sources.facts import Missing, Size
from edgex.networks.sources.offer import Offer, weights_sha256
from edgex.networks.sources.pretrained_cfg import preprocessing_of
from edgex.networks.sources.state import build_without_published
from edgex.networks.sources.torch_build import torchvision_fits
from edgex_runtime.errors import BadInputError

with torchvision_fits():
    import timm
    from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_data_config

_log = logging.getLogger(__name__)


def load(source: str, name: str, missing: Missing) -> Offer:
    """Build a network of timm's.

    Raises:
        BadInputError: If timm has no such network, or its weights cannot be fetched.
        SpecError: If its classes are said by nobody, or its configuration cannot stand in a contract.
        WeightsError: If the user's weights do not fit.
    """
    _require_known(source, name)
    weights = missing.weights or "default"
    network = _build(source, name, weights, missing)
    said = preprocessing_of(source, resolve_data_config(model=network))
    if said.interpolation != "bilinear":
        _log.warning(
            "%s: timm resizes by %s interpolation, edgex by its own halving-linear one, at its crop and size",
            source,
            said.interpolation,
        )
    return Offer(
        network=network.eval(),
        title=name.rpartition("/")[2],
        sha256=weights_sha256(network, weights),
        labels=_labels(network) if weights == "default" else None,
        input_size=said.input_size,
        resize=said.resize,
        crop_fraction=said.crop_fraction,
        normalise=said.normalise,
    )


def _require_known(source: str, name: str) -> None:
    # `hf-hub:owner/name` is timm's own way to a network that somebody published.
    if name.startswith("hf") or timm.is_model(name):
        return
    near = difflib.get_close_matches(name, timm.list_models(), n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() names them"
    raise BadInputError(f"{source}: timm {timm.__version__} has no network of that name; {hint}")


def _build(source: str, name: str, weights: str, missing: Missing) -> nn.Module:
    """The network with its weights."""
    # Only networks of one fixed size take the argument; the others find their size in each image.
    size = _size_argument(name, missing.input_size)
    if weights != "default":

        def build(classes: int) -> nn.Module:
            network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, **size)
            return network

        return build_without_published(source, missing, build)
    try:
        network: nn.Module = timm.create_model(name, pretrained=True, **size)
    except HUB_ERRORS as error:
        reason = str(error).strip().partition("\n")[0]
        raise BadInputError(
            f"{source}: want its weights from the Hugging Face hub, cannot get them: {reason}; on a machine with a "
            "network fetch them and copy that machine's HF_HOME folder here, or give --weights FILE, or --weights none "
            "for a try with random ones"
        ) from error
    return network


def _size_argument(name: str, size: Size | None) -> dict[str, Any]:
    config = None if size is None or name.startswith("hf") else timm.get_pretrained_cfg(name)
    return {"img_size": size} if config is not None and config.fixed_input_size else {}


def _labels(network: nn.Module) -> tuple[str, ...] | None:
    """ImageNet's, which timm carries; None for other classes."""
    subset = infer_imagenet_subset(network)
    return None if subset is None else distinct(tuple(ImageNetInfo(subset).label_descriptions()))
