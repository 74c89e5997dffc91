"""A moving average of the weights: what a run evaluates and saves (Polyak and Juditsky 1992)."""

import torch
from torch import Tensor, nn


class MovingAverage:
    """An exponential moving average of a module's weights and batch-norm statistics.

    The statistics are averaged with the weights that caused them, since the last batch's belong to the last weights
    only; counters are copied. The decay warms up as (1 + t) / (10 + t), so that a short run is no average of its start.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step's weights in."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, tensor in module.state_dict().items():
            if tensor.dtype.is_floating_point:
                self.tensors[name].lerp_(tensor, 1 - decay)
            else:
                self.tensors[name].copy_(tensor)

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchange the average and the module's tensors; a second call puts both back."""
        for name, tensor in module.state_dict().items():
            kept = tensor.detach().clone()
            tensor.copy_(self.tensors[name])
            self.tensors[name] = kept

    def load(self, tensors: dict[str, Tensor], *, updates: int) -> None:
        """Go on with what an interrupted run saved."""
        self.updates = updates
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
