"""Learning to give the answers of the float network."""

import torch
from torch import Tensor, nn

# A photo's error, as a share of what its answers usually are, from which on being further off hardly counts more.
_TOLERANCE = 0.02


class Imitation:
    """How far a quantised network's logits are from those of its float one, whatever the labels.

    Of each photo the square error e, as a share of the batch's mean square of the wanted logits, and of it e / (e + t)
    (Geman and McClure 1985): a few photos have values that no range holds, and all together they are further off than
    all others, whose answers the ranges should serve. What is common to a photo's logits changes no answer and is left
    out.

    Args:
        module: What learns; (N, H, W, 3) uint8 → logits.
        teacher: In float, likewise.
    """

    def __init__(self, module: nn.Module, teacher: nn.Module) -> None:
        self._module = module
        self._teacher = teacher

    def __call__(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`; the labels say nothing here."""
        with torch.no_grad():
            wanted = _centred(self._teacher(inputs))
        logits = self._module(inputs)
        error = (_centred(logits) - wanted).square().sum(1) / wanted.square().sum(1).mean().clamp(min=1e-12)
        return (error / (error + _TOLERANCE)).mean(), logits


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)
