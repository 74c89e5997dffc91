"""Channels that reach as far as each other, so that the range that they share in int8 fits them all.

A value has one step for all of its channels: what lies between two levels of the widest is lost in the others. A factor
of a channel moves from the layers that make it to those that read it without changing an answer, since nothing between
them but ReLU, sums and pools touches it (cross-layer equalisation, Nagel et al. 2019, arXiv:1906.04721, which evens out
weights; here it is what the channels carry).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgex.training.seen import Seen
from edgex_converters.graph import Array, Graph, Place

# How much of a channel's factor is taken. A layer that mixes channels has one step for the weights of all that it
# reads, so that what its input gains they lose.
_MIXED = 0.5
_UNMIXED = 1.0
# A channel that hardly carries anything stays small: no factor is beyond this.
_LEAST = 1 / 64
_KEEPS_CHANNELS = ("relu", "max_pool", "mean", "add")


def evened(graph: Graph, seen: Mapping[str, Seen]) -> Graph:
    """The same network in float, with every channel brought near to the widest of its value.

    Args:
        graph: Of the network.
        seen: By place, what its value was on photos.
    """
    groups = _groups(graph)
    fixed = {groups[place.name] for place in graph.places if place.kind == "image"} | {groups[graph.output]}
    mixed = {groups[place.inputs[0]] for place in graph.places if place.weight is not None and _mixes(place.weight)}
    reach: dict[str, Array] = {}
    for place in graph.places:
        group = groups[place.name]
        if group not in fixed:
            peaks = seen[place.name].peaks
            share = peaks / max(float(peaks.max()), 1e-12)
            reach[group] = np.maximum(reach.get(group, share), share)
    factors = {}
    for group, share in reach.items():
        taken = _MIXED if group in mixed else _UNMIXED
        factors[group] = np.power(np.maximum(share, _LEAST), taken, dtype=np.float32)
    return replace(graph, places=tuple(_scaled(place, groups, factors) for place in graph.places))


def _groups(graph: Graph) -> dict[str, str]:
    """By place, the last of those whose channels must have the same factors: a residual stream is one group."""
    groups: dict[str, str] = {}
    for place in graph.places:
        joined = {groups[name] for name in place.inputs} if place.kind in _KEEPS_CHANNELS else set()
        groups = {name: place.name if group in joined else group for name, group in groups.items()}
        groups[place.name] = place.name
    return groups


def _mixes(weight: Array) -> bool:
    """Whether an output is made of more than one channel."""
    return int(weight.shape[1]) > 1


def _scaled(place: Place, groups: Mapping[str, str], factors: Mapping[str, Array]) -> Place:
    if place.weight is None:
        return place
    weight, bias = place.weight, place.bias
    window = [1] * (weight.ndim - 2)
    read, made = factors.get(groups[place.inputs[0]]), factors.get(groups[place.name])
    if read is not None:
        # Each group of outputs reads channels of its own.
        outputs, inputs = weight.shape[:2]
        first = np.arange(outputs) // (outputs // place.groups) * inputs
        weight = weight * read[first[:, None] + np.arange(inputs)].reshape(outputs, inputs, *window)
    if made is not None:
        weight = weight / made.reshape(-1, 1, *window)
        bias = None if bias is None else bias / made
    return replace(place, weight=weight, bias=bias)
