"""timm's names for Xception's tensors: `legacy_xception`, which Cadene and tstandley ported from Keras.

The port carries Keras's values, but runs them with a batch-norm epsilon of 1e-5 for Keras's 1e-3, and pads every pool
by 1 on both sides (at 299 pixels block 3's map is even, where Keras pads 0 and 1). Loaded here, the values compute what
Keras computes with them; timm's own logits differ from that a little.
"""

from collections.abc import Collection, Mapping

from edgex.networks.naming import Kind, Layer, Renamed, layers
from edgex.networks.xception import Xception

_NORM = ("weight", "bias", "running_mean", "running_var")
# Ours → timm's, within a layer.
_TENSORS: Mapping[Kind, Mapping[str, str]] = {
    "conv": {"weight": "weight"},
    "separable": {"depthwise.weight": "conv1.weight", "pointwise.weight": "pointwise.weight"},
    "batch_norm": dict(zip(_NORM, _NORM, strict=True)),
    "dense": {"weight": "weight", "bias": "bias"},
}
_STEM = {"conv1": "conv1", "conv1_bn": "bn1", "conv2": "conv2", "conv2_bn": "bn2"}
_EXIT = {"sepconv1": "conv3", "sepconv1_bn": "bn3", "sepconv2": "conv4", "sepconv2_bn": "bn4"}


def timm_names(network: Xception, names: Collection[str]) -> list[Renamed]:
    """``block4.rep.1.pointwise.weight``; timm's block n is the paper's block n + 1."""
    return [
        Renamed(ours=f"{layer.path}.{ours}", theirs=f"{_path(layer, network)}.{theirs}")
        for layer in layers(network)
        for ours, theirs in _TENSORS[layer.kind].items()
    ]


def _path(layer: Layer, network: Xception) -> str:
    if layer.block == "head":
        return "fc"
    number = network.block_names.index(layer.block)
    if number == 0:
        return _STEM[layer.name]
    if number == len(network.block_names) - 1:
        return _EXIT[layer.name]
    if layer.name.startswith("shortcut"):
        return f"block{number}.{layer.name.replace('shortcut', 'skip').replace('_', '')}"
    # timm's `rep` is (relu, convolution, norm) repeated; its first block lacks the first relu.
    rank = int(layer.name.removesuffix("_bn").removeprefix("sepconv")) - 1
    place = 3 * rank + 1 + layer.name.endswith("_bn") - (number == 1)
    return f"block{number}.rep.{place}"
