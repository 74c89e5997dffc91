"""What is converted: a network, or somebody's ONNX file in its place, and the contract."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgex_converters.config import QuantizeConfig
from edgex_converters.learned import Ranges
from edgex_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn


# What is there to start from: a torch module, or an `OnnxFile`.
Kind = Literal["torch", "onnx"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """An ONNX file that others made, in the place of the network.

    Attributes:
        path: Where it stands; weights in files beside it belong to it.
        spec: What it takes: float32 images in its own layout and channel order, scaled, already of their size.
    """

    path: Path
    spec: ModelSpec


class LazyNetwork:
    """A network that is built when somebody first needs it: never, where everything is in the cache.

    Args:
        load: Builds the network, in evaluation mode. It goes to other processes by pickle.
        identity: Says what the network computes: equal only if weights and code are. Whoever gives it answers for that.
            None where nothing says it: nothing that is made of such a network is kept.
        kind: What `load` gives.
    """

    def __init__(self, load: "Callable[[], nn.Module | OnnxFile]", identity: str | None, kind: Kind = "torch") -> None:
        self.identity = identity
        self.kind = kind
        self._load = load
        self._network: nn.Module | OnnxFile | None = None

    def get(self) -> "nn.Module | OnnxFile":
        """The network; built once in each process."""
        if self._network is None:
            self._network = self._load()
        return self._network

    def module(self) -> "nn.Module":
        """The network where `kind` is ``torch``."""
        network = self.get()
        assert not isinstance(network, OnnxFile), "an ONNX file has no torch network"
        return network

    def __reduce__(self) -> tuple[object, ...]:
        """To another process goes how to build it, not what was built."""
        return LazyNetwork, (self._load, self.identity, self.kind)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """What is converted.

    Attributes:
        network: (N, H, W, 3) uint8 RGB → (N, classes) float32 logits, in evaluation mode. Only a `LazyNetwork` with an
            identity can be told from another one: what is made of any other is not kept for the next run.
        spec: Its contract.
        sha256: Of the file that its weights came from.
        ranges: What quantisation-aware training has learned, by place; None where it was not trained so.
    """

    network: "nn.Module | LazyNetwork"
    spec: ModelSpec
    sha256: str
    ranges: Ranges | None = None

    def ranges_for(self, quantize: QuantizeConfig) -> Ranges | None:
        """The ranges that int8 takes from the source; a user who names a way to calibrate wants that instead."""
        return self.ranges if quantize.activation_range == "recommended" else None

    def lazy_network(self) -> LazyNetwork:
        """The network as what can be built later."""
        if isinstance(self.network, LazyNetwork):
            return self.network
        return LazyNetwork(_Holder(self.network), identity=None)


class _Holder:
    """A network that is there already, as what builds one."""

    def __init__(self, network: "nn.Module") -> None:
        self._network = network

    def __call__(self) -> "nn.Module":
        return self._network
