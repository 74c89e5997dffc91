"""Channels that reach as far as each other, so that the range that they share in int8 fits them all.

A value has one step for all of its channels: what lies between two levels of the widest is lost in the others. A factor
of a channel moves from the layers that make it to those that read it without changing an answer, since nothing between
them but ReLU, sums and pools touches it (cross-layer equalisation, Nagel et al. 2019, arXiv:1906.04721, which evens out
weights; here it is what the channels carry).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgex_converters.graph import Array, Graph, Place

# How much of a channel's factor is taken. A layer that mixes channels has one step for the weights of all that it
# reads, so that what its input gains they lose.
_DEPTHWISE_SHARE = 1.0
_MIXING_SHARE = 0.5
# A channel that hardly carries anything stays small: no factor is beyond this.
_LEAST = 1 / 64
_KEEPS_CHANNELS = ("relu", "max_pool", "mean", "add")

Peaks = Mapping[str, NDArray[np.float32]]


def evened(graph: Graph, peaks: Peaks) -> Graph:
    """The same network in float, with every channel brought near to the widest of its value.

    Args:
        graph: Of the network.
        peaks: By place, (C,): how far from 0 each channel of its value usually reaches.
    """
    groups = _groups(graph)
    fixed = {groups[place.name] for place in graph.places if place.kind == "image"} | {groups[graph.output]}
    mixed = {groups[place.inputs[0]] for place in graph.places if place.weight is not None and not _depthwise(place)}
    reach: dict[str, NDArray[np.float32]] = {}
    for place in graph.places:
        group = groups[place.name]
        if group not in fixed:
            share = peaks[place.name] / max(float(peaks[place.name].max()), 1e-12)
            reach[group] = np.maximum(reach.get(group, share), share)
    factors = {}
    for group, share in reach.items():
        taken = _MIXING_SHARE if group in mixed else _DEPTHWISE_SHARE
        factors[group] = np.power(np.maximum(share, _LEAST), taken, dtype=np.float32)
    return replace(graph, places=tuple(_scaled(place, groups, factors) for place in graph.places))


def _groups(graph: Graph) -> dict[str, str]:
    """By place, the first of those whose channels must have the same factors: a residual stream is one group."""
    groups: dict[str, str] = {}
    for place in graph.places:
        joined = {groups[name] for name in place.inputs} if place.kind in _KEEPS_CHANNELS else set()
        first = next((name for name in groups if groups[name] in joined), place.name)
        groups[place.name] = place.name
        groups = {name: first if group in joined or name == place.name else group for name, group in groups.items()}
    return groups


def _depthwise(place: Place) -> bool:
    return place.groups > 1


def _scaled(place: Place, groups: Mapping[str, str], factors: Mapping[str, NDArray[np.float32]]) -> Place:
    if place.weight is None:
        return place
    weight, bias = place.weight, place.bias
    read, made = factors.get(groups[place.inputs[0]]), factors.get(groups[place.name])
    if read is not None:
        weight = weight * _along(read, weight, axis=0 if _depthwise(place) else 1)
    if made is not None:
        weight = weight / _along(made, weight, axis=0)
        bias = None if bias is None else (bias / made).astype(np.float32)
    return replace(place, weight=weight.astype(np.float32), bias=bias)


def _along(factors: NDArray[np.float32], weight: Array, *, axis: int) -> Array:
    shape = [1] * weight.ndim
    shape[axis] = -1
    return factors.reshape(shape)
