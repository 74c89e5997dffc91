"""Error feedback loses less of what a layer gives than rounding to the nearest level does."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from edgex.training import fake_quantise
from edgex.training.rounding import Moments, moments, rounded
from edgex_converters.graph import Place
from edgex_converters.learned import WEIGHT_CODES


def correlated(channels: int, photos: int, size: int) -> Tensor:
    """Values whose channels vary together, as a trained network's do."""
    generator = torch.Generator().manual_seed(1)
    few = torch.randn(photos, 6, size, size, generator=generator)
    mixed = torch.einsum("nchw,dc->ndhw", few, torch.randn(channels, 6, generator=generator))
    smooth = functional.avg_pool2d(functional.pad(mixed, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    return smooth + 0.1 * torch.randn(smooth.shape, generator=generator)


def place(weight: Tensor, **settings: object) -> Place:
    return Place(kind="conv", inputs=("x",), value="y", name="layer", weight=weight.numpy(), **settings)  # type: ignore[arg-type]


LAYERS = {
    "pointwise": ((24, 16, 1, 1), {}),
    "depthwise": ((16, 1, 3, 3), {"groups": 16, "pads": (1, 1, 1, 1)}),
    "dense 3 x 3, stride 2": ((24, 16, 3, 3), {"stride": (2, 2)}),
    "two groups": ((24, 8, 1, 1), {"groups": 2}),
}


def given(one: Place, weight: Tensor, x: Tensor) -> Tensor:
    top, left, bottom, right = one.pads
    return functional.conv2d(
        functional.pad(x, (left, right, top, bottom)), weight, stride=one.stride, groups=one.groups
    )


@pytest.mark.parametrize("name", LAYERS)
def test_more_of_the_result_is_kept(name: str) -> None:
    shape, settings = LAYERS[name]
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    steps = fake_quantise.weight_steps(weight)
    one, x = place(weight, **settings), correlated(16, 8, 20)
    seen = moments(one, x[:4], torch.Generator().manual_seed(0))

    fed_back, nearest = rounded(weight, steps, seen), fake_quantise.on_levels(weight, steps)

    wanted = given(one, weight, x[4:])
    # Its mean goes into the bias.
    lost = [(given(one, w, x[4:]) - wanted).var(dim=(0, 2, 3)).sum() for w in (fed_back, nearest)]
    assert float(lost[0]) < 0.8 * float(lost[1])


@pytest.mark.parametrize("name", LAYERS)
def test_every_weight_has_a_level_and_the_largest_keeps_the_outermost(name: str) -> None:
    shape, settings = LAYERS[name]
    weight = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    steps = fake_quantise.weight_steps(weight)

    found = rounded(weight, steps, moments(place(weight, **settings), correlated(16, 4, 20), torch.Generator()))

    codes = (found / steps.reshape(-1, 1, 1, 1)).numpy()
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-3)
    np.testing.assert_allclose(np.abs(codes).reshape(len(codes), -1).max(1), WEIGHT_CODES, atol=1e-3)
    torch.testing.assert_close(fake_quantise.weight_steps(found), steps)


def test_moments_are_those_of_what_each_group_reads() -> None:
    x = correlated(4, 3, 5)
    seen = moments(place(torch.ones(4, 2, 1, 1), groups=2), x, torch.Generator())

    rows = x.permute(1, 0, 2, 3).reshape(2, 2, -1).double()
    assert seen.count == 75
    torch.testing.assert_close(seen.mean, rows.mean(2))
    wanted = torch.stack([torch.cov(group, correction=0) for group in rows])
    torch.testing.assert_close(seen.covariance, wanted, rtol=1e-4, atol=1e-4)


def test_a_layer_that_is_seen_too_little_takes_the_nearest_levels() -> None:
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    steps = fake_quantise.weight_steps(weight)
    few = Moments(count=15, sums=torch.zeros(1, 8).double(), products=torch.eye(8).double()[None])

    assert torch.equal(rounded(weight, steps, few), fake_quantise.on_levels(weight, steps))


def test_an_input_that_never_varies_is_no_trouble() -> None:
    x = correlated(16, 4, 12)
    x[:, 3] = 0.0
    weight = torch.randn(24, 16, 1, 1, generator=torch.Generator().manual_seed(0))
    steps = fake_quantise.weight_steps(weight)

    found = rounded(weight, steps, moments(place(weight), x, torch.Generator()))

    assert bool(torch.isfinite(found).all())
