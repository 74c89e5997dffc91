"""What the layers of an Xception are, and how a file by somebody else may call their tensors.

`keras_names` and `timm_names` each turn `layers` into a list of `Renamed`; `weights` picks the list that fits the file.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from torch import nn

from edgex.networks.xception import SeparableConv2d, Xception

Kind = Literal["conv", "separable", "batch_norm", "dense"]

_KINDS: dict[type[nn.Module], Kind] = {
    nn.Conv2d: "conv",
    SeparableConv2d: "separable",
    nn.BatchNorm2d: "batch_norm",
    nn.Linear: "dense",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer with weights: its dotted path in the network (``block5.sepconv2``) and what it is."""

    path: str
    kind: Kind

    @property
    def block(self) -> str:
        """The block that it stands in, or ``head``."""
        return self.path.partition(".")[0]

    @property
    def name(self) -> str:
        """Its name within that block."""
        return self.path.partition(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """One tensor under its two names.

    Attributes:
        ours: Key of `network.state_dict()`.
        theirs: Name in the file.
        axes: The permutation that turns the file's layout into torch's; None where they agree.
    """

    ours: str
    theirs: str
    axes: tuple[int, ...] | None = None


Scheme = Callable[[Xception, Collection[str]], list[Renamed]]
"""(network, the names in the file) → every tensor of the network under the name that this scheme gives it."""


def layers(network: Xception) -> list[Layer]:
    """The layers with weights, in the order of their creation; a separable convolution is one layer."""
    found: list[Layer] = []
    for path, module in network.named_modules():
        kind = _KINDS.get(type(module))
        if kind and not path.endswith((".depthwise", ".pointwise")):
            found.append(Layer(path=path, kind=kind))
    return found


def own_names(network: Xception, names: Collection[str]) -> list[Renamed]:
    """Our own checkpoints: the state dict as it is, without batch-norm's counters, which nothing reads."""
    keys = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    return [Renamed(ours=key, theirs=key) for key in keys]
