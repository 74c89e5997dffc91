"""What the values of a network were on some photos: what its ranges start from."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edgex_converters.graph import Graph
from edgex_converters.stages.simulate import Simulation


class Seen:
    """One place's value on photos, as far as int8 has to know."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, float]] = []
        self._peaks: list[NDArray[np.float32]] = []
        self._moments: list[NDArray[np.float64]] = []

    def take(self, value: Tensor) -> None:
        """One photo's value, (1, C, …)."""
        channels = value.transpose(0, 1).flatten(1)
        self._ends.append((float(value.min()), float(value.max())))
        self._peaks.append(channels.abs().amax(1).numpy())
        channels = channels.double()
        self._moments.append(np.stack([channels.mean(1).numpy(), channels.square().mean(1).numpy()]))

    @property
    def ends(self) -> tuple[float, float]:
        """Mean of each photo's, 0 between them."""
        low, high = np.mean(self._ends, axis=0)
        return min(0.0, float(low)), max(float(high), 1e-6)

    @property
    def peaks(self) -> NDArray[np.float32]:
        """(C,): how far from 0 each channel reaches, as the mean of the photos."""
        peaks: NDArray[np.float32] = np.mean(self._peaks, axis=0, dtype=np.float32)
        return peaks

    @property
    def spread(self) -> NDArray[np.float32]:
        """(C,): deviation of each channel."""
        mean, square = np.mean(self._moments, axis=0)
        spread: NDArray[np.float32] = np.sqrt(np.maximum(square - mean * mean, 0.0)).astype(np.float32)
        return spread


def look(graph: Graph, photos: NDArray[np.uint8]) -> dict[str, Seen]:
    """By place, what its values are in float.

    Args:
        graph: Of the network.
        photos: (N, H, W, 3) uint8.
    """
    simulation = Simulation(graph)
    seen = {place.name: Seen() for place in graph.places}
    for index in range(len(photos)):
        for name, value in simulation.run(photos[index : index + 1]).items():
            seen[name].take(value)
    return seen
