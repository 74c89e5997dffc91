"""Computes a `Graph` in PyTorch, whole or with one place taken from another file's graph."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgex_converters.graph import Array, Graph, Place, Quantiser


class Simulation:
    """A graph whose weights are tensors already.

    Args:
        graph: Of a file or of the reference network.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._places = {place.name: _Ready(place) for place in graph.places}

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Every place's value, by its name; images are (N, H, W, 3)."""
        values: dict[str, Tensor] = {}
        for place in self.graph.places:
            values[place.name] = self.place(place.name, values, images)
        return values

    @torch.inference_mode()
    def place(self, name: str, values: Mapping[str, Tensor], images: NDArray[np.uint8]) -> Tensor:
        """One place's value, from those that it reads."""
        ready = self._places[name]
        if ready.place.kind == "image":
            return ready.finish(torch.from_numpy(images).permute(ready.place.permutation).to(torch.float32))
        return ready.compute([values[source] for source in ready.place.inputs])

    def multiplications(self, image: NDArray[np.uint8]) -> int:
        """How many one image takes."""
        values = self.run(image)
        return sum(
            values[place.name].numel() * int(np.prod(place.weight.shape[1:]))
            for place in self.graph.places
            if place.weight is not None
        )

    @torch.inference_mode()
    def with_one(self, name: str, value: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """The logits if the place `name` gave `value` and every other place did what it does.

        Args:
            name: Of the place.
            value: Instead of its own.
            values: Of `run`; what does not depend on the place is not computed again.
        """
        changed = {name: value}
        for place in self.graph.places:
            if place.name not in changed and any(source in changed for source in place.inputs):
                inputs = [changed.get(source, values[source]) for source in place.inputs]
                changed[place.name] = self._places[place.name].compute(inputs)
        return changed.get(self.graph.output, values[self.graph.output])


class _Ready:
    """A place with its tensors."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._weight, self._bias = _tensor(place.weight), _tensor(place.bias)
        self._steps = [step if isinstance(step, str) else _Cut(step) for step in place.steps]
        self._cuts = [None if cut is None else _Cut(cut) for cut in place.cuts]

    def compute(self, inputs: list[Tensor]) -> Tensor:
        read = [x if cut is None else cut(x) for x, cut in zip(inputs, self._cuts, strict=True)]
        return self.finish(compute(self.place, read, self._weight, self._bias))

    def finish(self, x: Tensor) -> Tensor:
        for step in self._steps:
            x = step(x) if isinstance(step, _Cut) else functional.relu(x)
        return x


def compute(place: Place, inputs: Sequence[Tensor], weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """What a place makes of what it reads, before its ReLU and its range.

    Args:
        place: Of an assembled graph, but no image.
        inputs: (N, C, H, W) or (N, C), in the order of `place.inputs`.
        weight: In torch's layout; None where the place has none.
        bias: (out,) or None.
    """
    x = inputs[0]
    match place.kind:
        case "conv":
            assert weight is not None
            return functional.conv2d(_padded(place, x, 0.0), weight, bias, stride=place.stride, groups=place.groups)
        case "linear":
            assert weight is not None
            return functional.linear(x.flatten(1), weight, bias)
        case "max_pool":
            padded = _padded(place, x, float("-inf"))
            return functional.max_pool2d(padded, place.kernel, place.stride, ceil_mode=place.rounds_up)
        case "mean":
            return x.mean((2, 3))
        case "add":
            return inputs[0] + inputs[1]
        case "relu":
            return functional.relu(x)
    raise AssertionError(f"{place.kind} is no place of an assembled graph")


def _padded(place: Place, x: Tensor, fill: float) -> Tensor:
    top, left, bottom, right = place.pads
    return functional.pad(x, (left, right, top, bottom), value=fill) if any(place.pads) else x


class _Cut:
    """A quantiser on tensors."""

    def __init__(self, quantiser: Quantiser) -> None:
        self._low, self._high = torch.from_numpy(quantiser.low), torch.from_numpy(quantiser.high)
        step = torch.from_numpy(quantiser.step)
        # A channel that was silent in calibration has a range of no width: all of it becomes `low`.
        self._step = torch.where(step > 0, step, torch.ones_like(step))

    def __call__(self, x: Tensor) -> Tensor:
        codes = torch.round((torch.clamp(x, self._low, self._high) - self._low) / self._step)
        return self._low + codes * self._step


def _tensor(array: Array | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(np.ascontiguousarray(array))
