"""Xception: a stack of depthwise separable convolutions with shortcuts (Chollet 2017, arXiv:1610.02357, fig. 5).

Value for value the network that `keras.applications.Xception` defines, batch-norm epsilon and padding included, so that
its ImageNet weights mean here what they mean there. One frozen config also gives the narrow members of the family.
Modules carry Keras's layer names with dots for underscores: Keras's `block5_sepconv2` is `block5.sepconv2` here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.fx
from torch import Tensor, nn

from edgex_runtime.spec import Normalise

NORMALISE = Normalise(mean=(127.5,) * 3, std=(127.5,) * 3)
"""What Keras's weights were trained with: x / 127.5 − 1 per RGB channel."""

BATCH_NORM_EPSILON = 1e-3
CHANNEL_MULTIPLE = 8
SMALLEST_IMAGE = 32
LARGEST_IMAGE = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class XceptionConfig:
    """One member of the family; the defaults are the paper's network.

    Attributes:
        width: Multiplies every channel count, rounded to a multiple of 8.
        middle_blocks: How often the middle block is repeated; 8 in the paper.
        image_size: Height and width of the input, in pixels. The pools' padding depends on it.
        classes: Length of the logits.
        dropout: Share of the pooled features that training drops, before the classifier.
    """

    width: float = 1.0
    middle_blocks: int = 8
    image_size: int = 299
    classes: int = 1000
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.width <= 4.0:
            raise ValueError(f"width: want more than 0 and at most 4, got {self.width}")
        if not 0 <= self.middle_blocks <= 64:
            raise ValueError(f"middle_blocks: want 0 to 64, got {self.middle_blocks}")
        if not SMALLEST_IMAGE <= self.image_size <= LARGEST_IMAGE:
            raise ValueError(f"image_size: want {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels, got {self.image_size}")
        if self.classes < 2:
            raise ValueError(f"classes: want 2 or more, got {self.classes}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout: want a share from 0 to below 1, got {self.dropout}")

    def channels(self, full: int) -> int:
        """Channels of a layer that has `full` of them at width 1.

        >>> XceptionConfig(width=0.25).channels(728)
        184
        """
        return max(CHANNEL_MULTIPLE, CHANNEL_MULTIPLE * round(full * self.width / CHANNEL_MULTIPLE))


def same_max_pool(size: int) -> nn.MaxPool2d:
    """3×3 max-pool of stride 2 that pads as Keras's ``same`` does on a map of `size` × `size`.

    Keras pads 0 before and 1 after an even side, 1 and 1 around an odd one. A separate pad with −inf would do the same
    and ruin both int8 (its scale becomes infinite) and XNNPACK's partition.
    """
    return nn.MaxPool2d(3, 2, padding=0, ceil_mode=True) if size % 2 == 0 else nn.MaxPool2d(3, 2, padding=1)


def halved(size: int) -> int:
    """Side of a map after a ``same`` layer of stride 2."""
    return (size + 1) // 2


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch-norm with Keras's epsilon. Its momentum is torch's 0.1: Keras's 0.01 outlasts a short training run."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON)


# A leaf for torch.fx, so that passes which trace symbolically do not stumble over the comparison.
@torch.fx.wrap
def require_size(x: Tensor, size: int) -> None:
    """Refuse a map whose side is not `size`: its pools would pad otherwise than the weights were trained for."""
    if tuple(x.shape[1:]) != (3, size, size):
        raise ValueError(f"input: want (N, 3, {size}, {size}), got {tuple(x.shape)}; set XceptionConfig.image_size")


class SeparableConv2d(nn.Module):
    """3×3 depthwise convolution, then a 1×1 pointwise one, nothing between them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class Stem(nn.Module):
    """Block 1: two plain convolutions without padding, the first of stride 2."""

    def __init__(self, middle: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, middle, 3, stride=2, bias=False)
        self.conv1_bn = batch_norm(middle)
        self.conv1_act = nn.ReLU()
        self.conv2 = nn.Conv2d(middle, outputs, 3, bias=False)
        self.conv2_bn = batch_norm(outputs)
        self.conv2_act = nn.ReLU()

    @staticmethod
    def output_size(size: int) -> int:
        """Side of the map that leaves the stem."""
        return (size - 3) // 2 + 1 - 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, outputs, (H − 1) // 2 − 2, …)."""
        x = self.conv1_act(self.conv1_bn(self.conv1(x)))
        y: Tensor = self.conv2_act(self.conv2_bn(self.conv2(x)))
        return y


class DownBlock(nn.Module):
    """Blocks 2, 3, 4 and 13: two separable convolutions and a pool, beside a strided 1×1 shortcut.

    The shortcut stands first, as Keras creates it: automatic layer names are numbered in that order.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, *, size: int, relu_first: bool = True) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.shortcut_bn = batch_norm(outputs)
        self.sepconv1_act = nn.ReLU() if relu_first else nn.Identity()
        self.sepconv1 = SeparableConv2d(inputs, middle)
        self.sepconv1_bn = batch_norm(middle)
        self.sepconv2_act = nn.ReLU()
        self.sepconv2 = SeparableConv2d(middle, outputs)
        self.sepconv2_bn = batch_norm(outputs)
        self.pool = same_max_pool(size)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, S, S) → (N, outputs, ⌈S / 2⌉, ⌈S / 2⌉)."""
        shortcut: Tensor = self.shortcut_bn(self.shortcut(x))
        x = self.sepconv1_bn(self.sepconv1(self.sepconv1_act(x)))
        x = self.sepconv2_bn(self.sepconv2(self.sepconv2_act(x)))
        x = self.pool(x)
        return x + shortcut


class MiddleBlock(nn.Module):
    """Blocks 5 to 12: three separable convolutions added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sepconv1_act = nn.ReLU()
        self.sepconv1 = SeparableConv2d(channels, channels)
        self.sepconv1_bn = batch_norm(channels)
        self.sepconv2_act = nn.ReLU()
        self.sepconv2 = SeparableConv2d(channels, channels)
        self.sepconv2_bn = batch_norm(channels)
        self.sepconv3_act = nn.ReLU()
        self.sepconv3 = SeparableConv2d(channels, channels)
        self.sepconv3_bn = batch_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, S, S) → the same shape."""
        y: Tensor = self.sepconv1_bn(self.sepconv1(self.sepconv1_act(x)))
        y = self.sepconv2_bn(self.sepconv2(self.sepconv2_act(y)))
        y = self.sepconv3_bn(self.sepconv3(self.sepconv3_act(y)))
        return y + x


class ExitBlock(nn.Module):
    """Block 14: two separable convolutions, each followed by its activation."""

    def __init__(self, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        self.sepconv1 = SeparableConv2d(inputs, middle)
        self.sepconv1_bn = batch_norm(middle)
        self.sepconv1_act = nn.ReLU()
        self.sepconv2 = SeparableConv2d(middle, outputs)
        self.sepconv2_bn = batch_norm(outputs)
        self.sepconv2_act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, S, S) → (N, outputs, S, S)."""
        x = self.sepconv1_act(self.sepconv1_bn(self.sepconv1(x)))
        y: Tensor = self.sepconv2_act(self.sepconv2_bn(self.sepconv2(x)))
        return y


class Head(nn.Module):
    """Global average pool, dropout, classifier."""

    def __init__(self, inputs: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.predictions = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, S, S) → logits (N, classes)."""
        # Pooling a channels-last map, torch restores its strides, which exporters spell out as a gather over the batch.
        pooled = self.avg_pool(x.contiguous()).flatten(1)
        y: Tensor = self.predictions(self.dropout(pooled))
        return y


def build_blocks(config: XceptionConfig) -> list[nn.Module]:
    """The blocks in order, each pool made for the map size that reaches it."""
    wide: Callable[[int], int] = config.channels
    size = Stem.output_size(config.image_size)
    blocks: list[nn.Module] = [Stem(wide(32), wide(64))]
    for inputs, outputs in ((64, 128), (128, 256), (256, 728)):
        first = len(blocks) == 1
        blocks.append(DownBlock(wide(inputs), wide(outputs), wide(outputs), size=size, relu_first=not first))
        size = halved(size)
    blocks += [MiddleBlock(wide(728)) for _ in range(config.middle_blocks)]
    blocks.append(DownBlock(wide(728), wide(728), wide(1024), size=size))
    blocks.append(ExitBlock(wide(1024), wide(1536), wide(2048)))
    return blocks


class Xception(nn.Module):
    """The network: blocks named block1, block2, … in order, then `head`.

    Weights start as Keras's do (Glorot uniform, drawn from torch's global generator).
    """

    def __init__(self, config: XceptionConfig) -> None:
        super().__init__()
        self.config = config
        blocks = build_blocks(config)
        self.block_names = tuple(f"block{i}" for i in range(1, len(blocks) + 1))
        for name, block in zip(self.block_names, blocks, strict=True):
            self.add_module(name, block)
        self.head = Head(config.channels(2048), config.classes, config.dropout)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                # For a depthwise kernel torch and Keras disagree on fan-in and fan-out, but not on their sum.
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def blocks(self) -> list[tuple[str, nn.Module]]:
        """(name, module) of each block; called one after the other they are `features`."""
        return [(name, self.get_submodule(name)) for name in self.block_names]

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalised → (N, 2048 × width, h, w), the last block's activations.

        Raises:
            ValueError: If `x` is not of the size that the config names.
        """
        require_size(x, self.config.image_size)
        for _, block in self.blocks():
            x = block(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalised by `NORMALISE` → logits (N, classes).

        Raises:
            ValueError: If `x` is not of the size that the config names.
        """
        logits: Tensor = self.head(self.features(x))
        return logits
