"""A network as its int8 files will compute it, made to learn: weights on their levels, values cut to learned ranges.

It is built from the same picture of the network that the quantisers' files are held to (`edgex_converters.graph`):
batch-norms folded, a quantiser wherever all three formats have one.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgex.training import fake_quantise
from edgex.training.rounding import Moments, moments, rounded
from edgex.training.seen import Seen
from edgex_converters import learned
from edgex_converters.graph import Graph, Place
from edgex_converters.learned import STEPS
from edgex_converters.stages.simulate import compute

# Bytes are their own codes.
_IMAGE_RANGE = (0.0, 255.0)
# Of the learning rate: a range has further to go than a bias.
_RANGE_SPEED = 50.0
# Photos; what a layer computes for more of them needs several times its result for a moment.
_AT_ONCE = 8


class QuantisedLayer(nn.Module):
    """Weights of one place, which stay on their levels, and its bias, which learns.

    The bias is kept as a share of its channel's spread: folded channels differ by orders of magnitude, and an
    optimiser that steps alike for all would undo the small ones.
    """

    def __init__(self, place: Place, spread: NDArray[np.float32]) -> None:
        super().__init__()
        assert place.weight is not None, "a layer has weights"
        weight = torch.from_numpy(np.array(place.weight))
        self.register_buffer("steps", fake_quantise.weight_steps(weight))
        self.steps: Tensor
        self.register_buffer("weight", fake_quantise.on_levels(weight, self.steps))
        self.weight: Tensor
        self.offset: nn.Parameter | None = None
        if place.bias is not None:
            unit = torch.from_numpy(np.maximum(spread, 1e-3 * float(spread.max()) + 1e-12))
            self.register_buffer("unit", unit)
            self.offset = nn.Parameter(torch.from_numpy(np.array(place.bias)) / unit)
        self.unit: Tensor

    def bias(self, input_step: Tensor) -> Tensor | None:
        """On its levels, which depend on the step of what the layer reads."""
        if self.offset is None:
            return None
        return fake_quantise.bias(self.offset * self.unit, self.steps * input_step)

    @torch.no_grad()
    def round_by(self, exact: Tensor, read: Moments) -> None:
        """Round weights by what the layer reads; the bias takes the mean of what they are off by."""
        self.weight.copy_(rounded(exact, self.steps, read))
        if self.offset is not None:
            off = (exact - self.weight).reshape(len(read.sums), -1, read.sums.shape[1]).double()
            self.offset.add_((off @ read.mean[:, :, None]).flatten().to(self.unit.dtype) / self.unit)


class LearnedRange(nn.Module):
    """One range, as powers of e times what calibration found: never empty, and an end that was 0 stays 0."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.register_buffer("start", torch.tensor([low, high]))
        self.start: Tensor
        self.low_power = nn.Parameter(torch.zeros(()))
        self.high_power = nn.Parameter(torch.zeros(()))

    def ends(self) -> tuple[Tensor, Tensor]:
        """Least and greatest, with 0 between."""
        low, high = self.start.unbind()
        return low * torch.exp(_RANGE_SPEED * self.low_power), high * torch.exp(_RANGE_SPEED * self.high_power)


class QuantisedNetwork(nn.Module):
    """(N, H, W, 3) uint8 → logits, computed as the int8 files will.

    Args:
        graph: Of the reference network.
        seen: By place, what its value was on photos: what the ranges start from.
    """

    def __init__(self, graph: Graph, seen: Mapping[str, Seen]) -> None:
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleDict()
        self.ranges = nn.ModuleDict()
        for place in graph.places:
            if place.weight is not None:
                self.layers[place.name] = QuantisedLayer(place, seen[place.name].spread)
            if place.kind not in ("image", "max_pool") and place.name != graph.output and not self._follows(place):
                self.ranges[place.name] = LearnedRange(*seen[place.name].ends)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, which nothing cuts."""
        return self._run(images, self._place)

    @torch.no_grad()
    def round_weights(self, photos: NDArray[np.uint8]) -> None:
        """Round every layer's weights anew by what it reads of photos once those before it are rounded."""
        generator = torch.Generator().manual_seed(0)

        def rounding(place: Place, inputs: list[Tensor]) -> Tensor:
            if place.weight is not None:
                read = moments(place, inputs[0], generator)
                self._layer(place).round_by(torch.from_numpy(np.array(place.weight)), read)
            starts = range(0, len(photos), _AT_ONCE)
            return torch.cat([self._place(place, [x[i : i + _AT_ONCE] for x in inputs]) for i in starts])

        self._run(torch.from_numpy(photos), rounding)

    def _run(self, images: Tensor, compute_place: Callable[[Place, list[Tensor]], Tensor]) -> Tensor:
        """The logits, place after place; what nothing reads any more is forgotten."""
        last = {source: place.name for place in self.graph.places for source in place.inputs}
        values: dict[str, Tensor] = {}
        for place in self.graph.places:
            if place.kind == "image":
                values[place.name] = images.permute(place.permutation).to(torch.float32)
            else:
                values[place.name] = compute_place(place, [values[name] for name in place.inputs])
            for name in {source for source in place.inputs if last[source] == place.name}:
                del values[name]
        return values[self.graph.output]

    def _layer(self, place: Place) -> QuantisedLayer:
        found = self.layers[place.name]
        assert isinstance(found, QuantisedLayer)
        return found

    def _place(self, place: Place, inputs: list[Tensor]) -> Tensor:
        if place.weight is None:
            x = compute(place, inputs, None, None)
        else:
            layer = self._layer(place)
            x = compute(place, inputs, layer.weight, layer.bias(self._step(place.inputs[0])))
        if "relu" in place.steps:
            x = functional.relu(x)
        return fake_quantise.activation(x, *self._ends(place)) if place.name in self.ranges else x

    def _follows(self, place: Place) -> bool:
        """Whether a place's values stand on its input's levels already.

        A ReLU of its own does: cut to other levels once more, its values would be rounded twice where a format rounds
        the sum before it, and once where a format (NNCF's) does not.
        """
        return place.kind == "relu" and place.inputs[0] in self.ranges

    def _step(self, name: str) -> Tensor:
        """Between two levels of a place's value; a pool's and a ReLU's are those of what they read."""
        place = self.graph[name]
        if place.kind == "image":
            return torch.ones(())
        if name not in self.ranges:
            return self._step(place.inputs[0])
        low, high = self._ends(place)
        return (high - low) / STEPS

    def _ends(self, place: Place) -> tuple[Tensor, Tensor]:
        found = self.ranges[place.name]
        assert isinstance(found, LearnedRange)
        return found.ends()

    @torch.no_grad()
    def learned_ranges(self) -> dict[str, tuple[float, float]]:
        """By place, the least and the greatest level of every value that the files quantise."""
        found: dict[str, tuple[float, float]] = {}
        for place in self.graph.places:
            if place.kind == "image":
                found[place.name] = _IMAGE_RANGE
            elif place.name in self.ranges:
                cut = learned.quantiser(*(float(end) for end in self._ends(place)))
                found[place.name] = (float(cut.low), float(cut.high))
            elif self._follows(place):
                # As many levels of the same step, from 0 on: those below it are not needed any more.
                low, high = found[place.inputs[0]]
                found[place.name] = (0.0, high - low)
        return found

    @torch.no_grad()
    def learned_layers(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        """By layer, the weights on their levels and the bias."""
        found = {}
        for place in self.graph.places:
            if place.weight is not None:
                layer = self._layer(place)
                found[place.name] = (layer.weight, layer.bias(self._step(place.inputs[0])))
        return found
