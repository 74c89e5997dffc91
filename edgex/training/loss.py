"""What a step makes smaller."""

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional


class Loss(Protocol):
    """From a batch to its loss, and the answers on the way there."""

    def __call__(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The mean over the batch, a scalar, and the logits, (N, classes)."""
        ...


class LabelLoss:
    """Cross-entropy to the labels.

    Args:
        module: What learns.
        smoothing: Share of the target that is spread over all classes.
    """

    def __init__(self, module: nn.Module, smoothing: float) -> None:
        self._module = module
        self._smoothing = smoothing

    def __call__(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`."""
        logits = self._module(inputs)
        return functional.cross_entropy(logits.float(), labels, label_smoothing=self._smoothing), logits
