"""What a run begins with: a network, the weights that were given for it, and the part of it that they cover."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from edgex.networks.deploy import Deployed
from edgex.networks.xception import NORMALISE, Xception, XceptionConfig
from edgex_runtime.errors import WeightsError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Divided:
    """A network in two halves that share its modules: what is trained in `tail` is trained in the network.

    Attributes:
        trunk: (N, S, S, 3) uint8 → (N, h, w, C) float32 features; in eval mode, its parameters frozen.
        tail: (N, h, w, C) features, float16 or float32 → logits.
        blocks: Names of the trunk's blocks.
    """

    trunk: nn.Module
    tail: nn.Module
    blocks: tuple[str, ...]


class _ChannelsLast(nn.Module):
    """Features leave as (N, h, w, C): what lies together in memory when the network runs channels-last."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.body(images)
        return features.permute(0, 2, 3, 1).contiguous()


class _FromFeatures(nn.Module):
    """Takes features as `_ChannelsLast` gives them."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.body(features.permute(0, 3, 1, 2).float())
        return logits


def new_network(config: XceptionConfig, *, seed: int) -> Xception:
    """A network with random weights that the seed alone decides; channels-last, which is 1.4 times as fast on a CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Xception(config)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    return network


def covered_blocks(network: Xception, missing: Iterable[str]) -> tuple[str, ...]:
    """The longest run of first blocks of which no tensor is missing.

    Args:
        network: The network that weights were loaded into.
        missing: Names of its tensors that the weights lack.
    """
    open_blocks = {name.split(".", 1)[0] for name in missing}
    names = [name for name, _ in network.blocks()]
    covered = next((i for i, name in enumerate(names) if name in open_blocks), len(names))
    return tuple(names[:covered])


def divide(network: Xception, missing: Iterable[str]) -> Divided:
    """Freeze what the weights cover and leave the rest to learn, the classifier always.

    Raises:
        WeightsError: If they do not even cover the first block.
    """
    lacking = sorted(missing)
    covered = covered_blocks(network, lacking)
    if not covered:
        raise WeightsError(
            f"--freeze-trunk: want weights that cover the first blocks, block1 lacks "
            f"{', '.join(name for name in lacking if name.startswith('block1.'))}"
        )
    blocks = dict(network.blocks())
    body = [block for name, block in blocks.items() if name in covered]
    rest = [block for name, block in blocks.items() if name not in covered]
    if not rest:
        # Only the classifier is left, which begins by pooling: pooled features are 100 times smaller, and pool to
        # themselves.
        body.append(nn.AdaptiveAvgPool2d(1))
    trunk = _ChannelsLast(Deployed(nn.Sequential(*body), NORMALISE)).eval().requires_grad_(requires_grad=False)
    return Divided(trunk=trunk, tail=_FromFeatures(nn.Sequential(*rest, network.head)), blocks=covered)
