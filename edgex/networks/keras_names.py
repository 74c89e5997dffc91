"""Keras's names for Xception's tensors, in the three ways that its files have had.

Keras names most of the layers (`block5_sepconv2`) and leaves the shortcuts and their batch-norms to automatic numbering
(`conv2d_7`), which goes on from model to model within a process. So automatic names are taken by rank, never by number.
"""

import re
from collections.abc import Collection, Iterable, Mapping

from edgex.networks.naming import Kind, Layer, Renamed, layers
from edgex.networks.xception import Xception

# Keras's tensor, ours, and the permutation from Keras's layout (HWIO, HWC1, IO) to torch's (OIHW, C1HW, OI).
_Field = tuple[str, str, tuple[int, ...] | None]
_FIELDS: Mapping[Kind, tuple[_Field, ...]] = {
    "conv": (("kernel", "weight", (3, 2, 0, 1)),),
    "separable": (
        ("depthwise_kernel", "depthwise.weight", (2, 3, 0, 1)),
        ("pointwise_kernel", "pointwise.weight", (3, 2, 0, 1)),
    ),
    "batch_norm": (
        ("gamma", "weight", None),
        ("beta", "bias", None),
        ("moving_mean", "running_mean", None),
        ("moving_variance", "running_var", None),
    ),
    "dense": (("kernel", "weight", (1, 0)), ("bias", "bias", None)),
}

_KERAS_2_PREFIXES: Mapping[Kind, str] = {
    "conv": "conv2d",
    "separable": "separable_conv2d",
    "batch_norm": "batch_normalization",
    "dense": "dense",
}
_KERAS_1_PREFIXES: Mapping[Kind, str] = {
    "conv": "convolution2d",
    "separable": "separableconvolution2d",
    "batch_norm": "batchnormalization",
    "dense": "dense",
}


def keras_named(network: Xception, names: Collection[str]) -> list[Renamed]:
    """``block5_sepconv2/depthwise_kernel``: `.h5` files since Keras 2, and safetensors made from them."""
    present = {name.split("/")[0] for name in names}
    unnamed = [layer for layer in layers(network) if _own_name(layer, present) is None]
    automatic = _automatic(unnamed, present, _KERAS_2_PREFIXES)
    return [
        Renamed(
            ours=f"{layer.path}.{ours}",
            theirs=f"{_own_name(layer, present) or automatic[layer.path]}/{theirs}",
            axes=axes,
        )
        for layer in layers(network)
        for theirs, ours, axes in _FIELDS[layer.kind]
    ]


def keras_1_numbered(network: Xception, names: Collection[str]) -> list[Renamed]:
    """``separableconvolution2d_7/…``: every layer numbered, as in the file that keras.applications downloads.

    Numbers follow creation, where a shortcut comes before the block that it leads around.
    """
    automatic = _automatic(layers(network), {name.split("/")[0] for name in names}, _KERAS_1_PREFIXES)
    return [
        Renamed(ours=f"{layer.path}.{ours}", theirs=f"{automatic[layer.path]}/{theirs}", axes=axes)
        for layer in layers(network)
        for theirs, ours, axes in _FIELDS[layer.kind]
    ]


def keras_3_numbered(network: Xception, names: Collection[str]) -> list[Renamed]:
    """``layers/separable_conv2d_7/vars/0``: `.weights.h5` and `.keras` files.

    Keras numbers the layers of each class anew in every file, by depth in the graph, where a shortcut comes after the
    convolutions that it leads around; and the tensors of a layer by their order.
    """
    order = [*network.block_names, "head"]
    by_depth = sorted(layers(network), key=lambda layer: (order.index(layer.block), layer.name.startswith("shortcut")))
    present = {name.split("/")[1] for name in names if name.startswith("layers/")}
    automatic = _automatic(by_depth, present, _KERAS_2_PREFIXES)
    return [
        Renamed(ours=f"{layer.path}.{ours}", theirs=f"layers/{automatic[layer.path]}/vars/{index}", axes=axes)
        for layer in by_depth
        for index, (_, ours, axes) in enumerate(_FIELDS[layer.kind])
    ]


def _own_name(layer: Layer, present: Collection[str]) -> str | None:
    """The name that Keras's code gives the layer; None for a shortcut, and for a classifier that a user put on top."""
    if layer.kind == "dense":
        unnamed_classifier = "predictions" not in present and any(
            re.fullmatch(r"dense(_\d+)?", name) for name in present
        )
        return None if unnamed_classifier else "predictions"
    return None if layer.name.startswith("shortcut") else layer.path.replace(".", "_")


def _automatic(found: Iterable[Layer], present: Collection[str], prefixes: Mapping[Kind, str]) -> dict[str, str]:
    """Path → automatic name: the n-th layer of a kind has the n-th number that the file has for that kind."""
    ranked = {kind: _ranked(present, prefix) for kind, prefix in prefixes.items()}
    taken = dict.fromkeys(prefixes, 0)
    assigned: dict[str, str] = {}
    for layer in found:
        numbers, rank = ranked[layer.kind], taken[layer.kind]
        # Where the file has too few, the numbering goes on, so that what is missing has a name.
        beyond = (numbers[-1] if numbers else -1) + 1 + rank - len(numbers)
        number = numbers[rank] if rank < len(numbers) else beyond
        assigned[layer.path] = prefixes[layer.kind] + (f"_{number}" if number else "")
        taken[layer.kind] += 1
    return assigned


def _ranked(present: Collection[str], prefix: str) -> list[int]:
    """The numbers that stand behind `prefix`, ascending; a bare prefix is number 0."""
    matches = (re.fullmatch(rf"{prefix}(?:_(\d{{1,9}}))?", name) for name in present)
    return sorted(int(match[1] or 0) for match in matches if match)
