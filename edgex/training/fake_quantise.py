"""Rounding that can be learned through: what an int8 engine does to a value, with gradients for the range's ends.

The gradient of a range's end is that of its step (Esser et al. 2020, arXiv:1902.08153), with the zero point in between
(Bhalgat et al. 2020, arXiv:2004.09576).
"""

import math
from typing import Any

import torch
from torch import Tensor

from edgex_converters.learned import STEPS, WEIGHT_CODES


class _Rounded(torch.autograd.Function):
    """`activation` with its gradients; the ends' are scaled as in the paper, sec. 2.2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        scale = (high - low) / STEPS
        zero = torch.round(-low / scale).clamp(0, STEPS)
        ctx.save_for_backward(x, scale, zero)
        codes = torch.round(x / scale).add_(zero).clamp_(0, STEPS)
        return codes.sub_(zero).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,) = gradients
        x, scale, zero = ctx.saved_tensors
        ratio = x / scale
        codes = torch.round(ratio)
        below, above = codes < -zero, codes > STEPS - zero
        passed = gradient.masked_fill(below | above, 0.0)
        # What the step's width moves inside the range: each value's own rounding.
        inside = (passed * codes.sub_(ratio)).sum() / STEPS
        share = 1 / math.sqrt(x.numel() * STEPS)
        low = (gradient * below).sum() - inside
        high = (gradient * above).sum() + inside
        return passed, low * share, high * share


def activation(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """`x` cut to a range and rounded to 256 levels, 0 among them.

    Args:
        x: Of any shape.
        low: Scalar, 0 or less.
        high: Scalar, more than `low`.
    """
    rounded: Tensor = _Rounded.apply(x, low, high)  # type: ignore[no-untyped-call]
    return rounded


def weight(values: Tensor) -> Tensor:
    """Weights on the levels that every int8 file has room for, each output channel on its own.

    Args:
        values: (out, …). The gradient passes as if nothing had been rounded; no value is ever cut.
    """
    largest = values.detach().abs().flatten(1).amax(1).reshape(-1, *[1] * (values.ndim - 1))
    step = torch.where(largest > 0, largest / WEIGHT_CODES, torch.ones_like(largest))
    rounded = torch.round(values.detach() / step) * step
    return values + (rounded - values.detach())
