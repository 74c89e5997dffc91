"""timm's data configuration in the contract's words: a pure function, which needs no timm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgex.networks.sources.facts import Size
from edgex_runtime.errors import SpecError
from edgex_runtime.spec import Normalise, ResizeMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What a library says of its network's input; `resize` is None where the contract has no word for its way."""

    input_size: Size
    resize: ResizeMode | None
    crop_fraction: float | None
    normalise: Normalise
    interpolation: str


def preprocessing_of(source: str, config: Mapping[str, Any]) -> Preprocessing:
    """Translate a `pretrained_cfg`, or what timm's `resolve_data_config` made of one.

    Args:
        source: For messages.
        config: Has ``input_size`` (3, H, W), ``mean`` and ``std`` in 0..1, ``crop_pct``, ``crop_mode`` and
            ``interpolation``.

    Raises:
        SpecError: If a key is not there, or it is not a network of RGB images.

    >>> cfg = dict(input_size=(3, 224, 224), mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.875, interpolation="bicubic")
    >>> said = preprocessing_of("timm:some", cfg)
    >>> said.resize, said.crop_fraction, said.normalise.mean
    ('crop', 0.875, (127.5, 127.5, 127.5))
    """
    lacking = [key for key in ("input_size", "mean", "std", "crop_pct", "interpolation") if config.get(key) is None]
    if lacking:
        raise SpecError(f"{source}: its pretrained_cfg does not say {', '.join(lacking)}")
    channels, height, width = config["input_size"]
    if channels != 3:
        raise SpecError(f"{source}: want a network of RGB images, its pretrained_cfg says {channels} channels")
    crop = float(config["crop_pct"])
    mode = config.get("crop_mode") or "center"
    resize: ResizeMode | None = None
    if mode == "center":
        resize = "crop"
    elif mode == "squash" and crop == 1.0:
        resize = "stretch"
    return Preprocessing(
        input_size=(height, width),
        resize=resize,
        crop_fraction=crop if resize == "crop" else None,
        normalise=bytes_scale(config["mean"], config["std"]),
        interpolation=str(config["interpolation"]),
    )


def bytes_scale(mean: "tuple[float, ...] | list[float]", std: "tuple[float, ...] | list[float]") -> Normalise:
    """Mean and std of pixels 0..1, as PyTorch's libraries state them, in pixels 0..255."""
    return Normalise(mean=(mean[0] * 255, mean[1] * 255, mean[2] * 255), std=(std[0] * 255, std[1] * 255, std[2] * 255))
