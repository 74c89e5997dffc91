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
        share = 1 / math.sqrt(x.numel() * STEPS)
        # In one pass over the values; its sums are the step's and the zero point's, which the ends decide.
        passed, step, shift = torch.ops.aten._fake_quantize_learnable_per_tensor_affine_backward(
            gradient, x, scale.reshape(1), zero.reshape(1), 0, STEPS, share
        )
        widened, beyond = step.squeeze() / STEPS, -shift.squeeze() / scale
        return passed, beyond * (1 - zero / STEPS) - widened, beyond * zero / STEPS + widened


def activation(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """`x` cut to a range and rounded to 256 levels, 0 among them.

    Args:
        x: Of any shape.
        low: Scalar, 0 or less.
        high: Scalar, more than `low`.
    """
    rounded: Tensor = _Rounded.apply(x, low, high)  # type: ignore[no-untyped-call]
    return rounded


def on_levels(values: Tensor, steps: Tensor) -> Tensor:
    """Values on the nearest of their levels.

    Args:
        values: (out, …): weights, or a bias.
        steps: (out,): between two levels of each output channel.
    """
    steps = steps.reshape(-1, *[1] * (values.ndim - 1))
    return torch.round(values / steps) * steps


def weight_steps(values: Tensor) -> Tensor:
    """(out,): the step of each output channel, which its largest weight decides; see `learned.weight_steps`."""
    largest = values.abs().flatten(1).amax(1)
    return torch.where(largest > 0, largest / WEIGHT_CODES, torch.ones_like(largest))


def bias(values: Tensor, steps: Tensor) -> Tensor:
    """A bias as int8 engines add it to products of codes: a whole number of products of the two steps.

    It matters where one channel of many widens the input's step. The gradient passes as if nothing had been rounded.

    Args:
        values: (out,)
        steps: (out,): the weights' steps times that of the layer's input.
    """
    exact = values.detach()
    return values + (on_levels(exact, steps.detach()) - exact)
