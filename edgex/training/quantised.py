"""A network as its int8 files will compute it, made to learn: weights on their levels, values cut to learned ranges.

It is built from the same picture of the network that the quantisers' files are held to (`edgex_converters.graph`):
batch-norms folded, a quantiser wherever all three formats have one.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgex.training import fake_quantise
from edgex_converters import learned
from edgex_converters.graph import Graph, Place
from edgex_converters.learned import STEPS
from edgex_converters.stages.simulate import Simulation, compute

# Bytes are their own codes.
_IMAGE_RANGE = (0.0, 255.0)
# Steps of an optimiser are small against a weight's share of 1; a range has further to go than a weight.
_RANGE_SPEED = 10.0


def run(
    graph: Graph, compute_place: Callable[[Place, list[Tensor]], Tensor], images: Tensor, keep: frozenset[str]
) -> dict[str, Tensor]:
    """Compute a graph in order, forgetting what nothing reads any more.

    Args:
        graph: Of the network.
        compute_place: From a place and what it reads to its value.
        images: (N, H, W, 3) uint8.
        keep: Names of the places whose values are wanted.
    """
    last = {source: place.name for place in graph.places for source in place.inputs}
    values: dict[str, Tensor] = {}
    for place in graph.places:
        if place.kind == "image":
            values[place.name] = images.permute(place.permutation).to(torch.float32)
        else:
            values[place.name] = compute_place(place, [values[name] for name in place.inputs])
        for name in {source for source in place.inputs if last[source] == place.name} - keep:
            del values[name]
    return values


class QuantisedLayer(nn.Module):
    """Weights and bias of one place, as factors of a size that suits them.

    Folded weights differ by orders of magnitude between channels, and an optimiser that steps alike for all would undo
    the small ones: what learns is each channel's share of its largest weight, and its bias in units of its spread.
    """

    def __init__(self, place: Place, spread: NDArray[np.float32]) -> None:
        super().__init__()
        assert place.weight is not None, "a layer has weights"
        weight = torch.from_numpy(np.array(place.weight))
        size = weight.abs().flatten(1).amax(1).clamp(min=1e-12).reshape(-1, *[1] * (weight.ndim - 1))
        self.register_buffer("size", size)
        self.size: Tensor
        self.share = nn.Parameter(weight / size)
        self.offset: nn.Parameter | None = None
        if place.bias is not None:
            unit = torch.from_numpy(np.maximum(spread, 1e-3 * float(spread.max()) + 1e-12))
            self.register_buffer("unit", unit)
            self.offset = nn.Parameter(torch.from_numpy(np.array(place.bias)) / unit)
        self.unit: Tensor

    def weight(self) -> Tensor:
        """On its levels."""
        return fake_quantise.weight(self.share * self.size)

    def bias(self, input_step: Tensor) -> Tensor | None:
        """On its levels, which depend on the step of what the layer reads."""
        if self.offset is None:
            return None
        return fake_quantise.bias(self.offset * self.unit, self.share * self.size, input_step)


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
        photos: (N, H, W, 3) uint8: what the ranges start from, by the mean of each photo's extremes.
    """

    def __init__(self, graph: Graph, photos: NDArray[np.uint8]) -> None:
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleDict()
        self.ranges = nn.ModuleDict()
        seen = _look(graph, photos)
        for place in graph.places:
            if place.weight is not None:
                self.layers[place.name] = QuantisedLayer(place, seen[place.name].spread)
            if place.kind not in ("image", "max_pool") and place.name != graph.output and not self._follows(place):
                self.ranges[place.name] = LearnedRange(*seen[place.name].ends)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, which nothing cuts."""
        output = self.graph.output
        return self.values(images, frozenset({output}))[output]

    def values(self, images: Tensor, keep: frozenset[str]) -> dict[str, Tensor]:
        """What the places `keep` give, by their names."""
        return run(self.graph, self._place, images, keep)

    def _place(self, place: Place, inputs: list[Tensor]) -> Tensor:
        if place.weight is None:
            x = compute(place, inputs, None, None)
        else:
            layer = self.layers[place.name]
            assert isinstance(layer, QuantisedLayer)
            x = compute(place, inputs, layer.weight(), layer.bias(self._step(place.inputs[0])))
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
        for name, layer in self.layers.items():
            assert isinstance(layer, QuantisedLayer)
            found[name] = (layer.weight(), layer.bias(self._step(self.graph[name].inputs[0])))
        return found


class _Seen:
    """What a place's values were on some photos."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, float]] = []
        self._moments: list[NDArray[np.float64]] = []

    def take(self, value: Tensor) -> None:
        """One photo's value, (1, C, …)."""
        self._ends.append((float(value.min()), float(value.max())))
        channels = value.double().transpose(0, 1).flatten(1)
        self._moments.append(torch.stack([channels.mean(1), channels.square().mean(1)]).numpy())

    @property
    def ends(self) -> tuple[float, float]:
        """Mean of each photo's, 0 between them."""
        low, high = np.mean(self._ends, axis=0)
        return min(0.0, float(low)), max(float(high), 1e-6)

    @property
    def spread(self) -> NDArray[np.float32]:
        """(C,): deviation of each channel."""
        mean, square = np.mean(self._moments, axis=0)
        spread: NDArray[np.float32] = np.sqrt(np.maximum(square - mean * mean, 0.0)).astype(np.float32)
        return spread


def _look(graph: Graph, photos: NDArray[np.uint8]) -> dict[str, _Seen]:
    simulation = Simulation(graph)
    seen = {place.name: _Seen() for place in graph.places}
    for index in range(len(photos)):
        for name, value in simulation.run(photos[index : index + 1]).items():
            seen[name].take(value)
    return seen
