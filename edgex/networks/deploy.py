"""The network as it leaves training: bytes in, logits out, so that nobody outside can get the scaling wrong."""

import torch
from torch import Tensor, nn

from edgex_runtime.spec import Normalise


class Deployed(nn.Module):
    """Layout, scaling and network in one graph.

    Args:
        network: (N, 3, H, W) float32, normalised → logits.
        normalise: What `network` was trained with, in pixels 0..255.
    """

    def __init__(self, network: nn.Module, normalise: Normalise) -> None:
        super().__init__()
        self.network = network
        # Not part of the weights: the contract holds them.
        mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (normalise.mean, normalise.std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("scale", 1.0 / std, persistent=False)
        self.mean: Tensor
        self.scale: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 RGB → logits (N, classes) float32."""
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        logits: Tensor = self.network((x - self.mean) * self.scale)
        return logits
