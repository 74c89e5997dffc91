"""Weights on their levels, each chosen so that it takes back what those before it were rounded by.

Error feedback (GPTQ, Frantar et al. 2022, arXiv:2210.17323): a layer's weights are rounded one input after the other,
and what one is off by goes into the inputs that are still open, by how they vary together on photos. The mean of what
is left goes into the bias.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgex_converters.graph import Place
from edgex_converters.learned import WEIGHT_CODES

# Of a photo; the values of more positions are too alike to say more.
_POSITIONS = 400
# Of the mean variance: what is added to each, so that inputs that hardly vary take no feedback.
_DAMPING = 0.01
# Inputs whose feedback on all later ones is added up at once.
_BLOCK = 128
# Seen at fewer positions a weight than this, how inputs vary together is chance.
_LEAST_SEEN = 2


@dataclass(slots=True, kw_only=True)
class Moments:
    """How what a layer reads varies, for each group of its channels.

    Attributes:
        count: Positions seen.
        sums: (groups, k), k being the weights of one output.
        products: (groups, k, k).
    """

    count: int
    sums: Tensor
    products: Tensor

    @property
    def mean(self) -> Tensor:
        """(groups, k)."""
        return self.sums / self.count

    @property
    def covariance(self) -> Tensor:
        """(groups, k, k)."""
        return self.products / self.count - self.mean[:, :, None] * self.mean[:, None, :]


def moments(place: Place, read: Tensor, generator: torch.Generator) -> Moments:
    """Of what a layer reads of photos.

    Args:
        place: With weights.
        read: (N, C, H, W), or (N, C) of a linear layer.
        generator: Which positions are looked at.
    """
    assert place.weight is not None, "a layer has weights"
    found: Moments | None = None
    for index in range(len(read)):
        x = _positions(place, read[index : index + 1], generator)
        sums, products = x.sum(2).double(), (x @ x.transpose(1, 2)).double()
        if found is None:
            found = Moments(count=0, sums=torch.zeros_like(sums), products=torch.zeros_like(products))
        found.count += x.shape[2]
        found.sums += sums
        found.products += products
    assert found is not None, "at least one photo"
    return found


def _positions(place: Place, photo: Tensor, generator: torch.Generator) -> Tensor:
    """(groups, k, positions): what some of a layer's outputs are made of."""
    assert place.weight is not None, "a layer has weights"
    if place.kind == "linear":
        return photo.flatten(1)[:, :, None]
    top, left, bottom, right = place.pads
    kernel = tuple(place.weight.shape[2:])
    padded = functional.pad(photo, (left, right, top, bottom))
    columns = functional.unfold(padded, kernel, stride=place.stride)[0]
    chosen = torch.randperm(columns.shape[1], generator=generator)[:_POSITIONS]
    return columns[:, chosen].reshape(place.groups, -1, len(chosen))


def rounded(weight: Tensor, steps: Tensor, seen: Moments) -> Tensor:
    """Weights on their levels.

    Args:
        weight: (out, …) in torch's layout.
        steps: (out,): between two levels of each output channel.
        seen: Of what the layer reads.

    Returns:
        As `weight`; the largest of each channel keeps its level, since the channel's step is read from it.
    """
    groups, k = seen.sums.shape
    rows, step = weight.reshape(groups, -1, k), steps.reshape(groups, -1, 1)
    largest = rows.abs().argmax(2, keepdim=True)
    if seen.count < _LEAST_SEEN * k:
        return (torch.round(rows / step) * step).reshape(weight.shape)
    covariance = seen.covariance
    variance = torch.diagonal(covariance, dim1=1, dim2=2)
    covariance = covariance + torch.diag_embed((_DAMPING * variance.mean(1) + 1e-12)[:, None].expand(-1, k))
    # What varies most first, while there is most to take back its error.
    order = torch.argsort(variance, dim=1, descending=True)
    covariance = covariance.gather(1, order[:, :, None].expand(-1, -1, k)).gather(2, order[:, None].expand(-1, k, -1))
    feedback = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(covariance)), upper=True)
    across = order[:, None].expand(-1, rows.shape[1], -1)
    fixed = torch.zeros_like(rows, dtype=torch.bool).scatter_(2, largest, value=True).gather(2, across)
    levels = _fed_back(rows.gather(2, across), step[:, :, 0], feedback.to(rows.dtype), fixed)
    return torch.zeros_like(rows).scatter_(2, across, levels).reshape(weight.shape)


def _fed_back(rows: Tensor, step: Tensor, feedback: Tensor, fixed: Tensor) -> Tensor:
    """(groups, out, k) weights in the order in which they are rounded → on levels; `fixed` ones keep the outermost."""
    rows, levels, k = rows.clone(), torch.zeros_like(rows), rows.shape[2]
    outermost = torch.sign(rows) * WEIGHT_CODES
    for start in range(0, k, _BLOCK):
        end = min(start + _BLOCK, k)
        errors = torch.zeros_like(rows[:, :, start:end])
        for j in range(start, end):
            codes = torch.round(rows[:, :, j] / step).clamp(-WEIGHT_CODES, WEIGHT_CODES)
            levels[:, :, j] = torch.where(fixed[:, :, j], outermost[:, :, j], codes) * step
            error = (rows[:, :, j] - levels[:, :, j]) / feedback[:, None, j, j]
            rows[:, :, j:end] -= error[:, :, None] * feedback[:, None, j, j:end]
            errors[:, :, j - start] = error
        rows[:, :, end:] -= errors @ feedback[:, start:end, end:]
    return levels
