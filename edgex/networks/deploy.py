"""The network as it leaves training: bytes in, logits out, so that nobody outside can get the scaling wrong."""

from typing import Literal

import torch
from torch import Tensor, nn

from edgex_runtime.spec import Normalise


class Deployed(nn.Module):
    """Layout, channel order, scaling and network in one graph.

    Args:
        network: (N, 3, H, W) float32, normalised → logits.
        normalise: What `network` was trained with, RGB, in pixels 0..255; mean 0 and std 1 leave the pixels as they
            are, for a network that scales them itself.
        layout: Of the images that `network` takes; ``NHWC`` is (N, H, W, 3).
        color: Of the images that `network` takes.
    """

    def __init__(
        self,
        network: nn.Module,
        normalise: Normalise,
        *,
        layout: Literal["NCHW", "NHWC"] = "NCHW",
        color: Literal["RGB", "BGR"] = "RGB",
    ) -> None:
        super().__init__()
        self.network = network
        self.layout = layout
        self.color = color
        self.scales = normalise != Normalise(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        shape = (1, 3, 1, 1) if layout == "NCHW" else (1, 1, 1, 3)
        order = slice(None, None, -1) if color == "BGR" else slice(None)
        # Not part of the weights: the contract holds them.
        mean, std = (torch.tensor(values[order]).reshape(shape) for values in (normalise.mean, normalise.std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("scale", 1.0 / std, persistent=False)
        self.mean: Tensor
        self.scale: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 RGB → logits (N, classes) float32."""
        # The channels change places as bytes: scaling stays next to the first convolution, which takes it in.
        x = images.flip(3) if self.color == "BGR" else images
        x = x.permute(0, 3, 1, 2) if self.layout == "NCHW" else x
        x = x.to(torch.float32)
        logits: Tensor = self.network((x - self.mean) * self.scale if self.scales else x)
        return logits
