"""The family's one config, and what the network promises to those who build on it."""

from typing import Any

import pytest
import torch

from edgex.networks.xception import Xception, XceptionConfig, same_max_pool


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0.0},
        {"width": float("nan")},
        {"width": 5.0},
        {"middle_blocks": -1},
        {"middle_blocks": 65},
        {"image_size": 31},
        {"image_size": 16385},
        {"classes": 1},
        {"dropout": 1.0},
        {"dropout": -0.1},
    ],
)
def test_refuses_a_setting_out_of_range_by_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: want"):
        XceptionConfig(**wrong)


@pytest.mark.parametrize("width", [0.05, 0.125, 0.3, 0.5, 0.77, 1.0, 1.5])
def test_channels_are_a_multiple_of_8_near_the_share_asked_for(width: float) -> None:
    for full in (32, 64, 128, 256, 728, 1024, 1536, 2048):
        channels = XceptionConfig(width=width).channels(full)
        assert channels % 8 == 0
        assert channels == 8 or abs(channels - full * width) <= 4


@pytest.mark.parametrize("middle_blocks", [0, 1, 8])
def test_blocks_are_numbered_without_gaps(middle_blocks: int) -> None:
    network = Xception(XceptionConfig(width=0.05, middle_blocks=middle_blocks, image_size=32))
    assert [name for name, _ in network.blocks()] == [f"block{i}" for i in range(1, middle_blocks + 7)]


def test_forward_is_the_blocks_in_sequence_then_the_head(network: Xception) -> None:
    size = network.config.image_size
    x = torch.rand(2, 3, size, size)
    y = x
    with torch.no_grad():
        for _, block in network.blocks():
            y = block(y)
        assert torch.equal(y, network.features(x))
        assert torch.equal(network.head(y), network(x))


@pytest.mark.parametrize("image_size", range(32, 50))
def test_every_image_size_from_32_on_works(image_size: int) -> None:
    network = Xception(XceptionConfig(width=0.05, middle_blocks=0, image_size=image_size, classes=3)).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, image_size, image_size)).shape == (1, 3)


@pytest.mark.parametrize("shape", [(1, 3, 67, 67), (1, 66, 66, 3), (1, 3, 66, 67), (3, 66, 66)])
def test_refuses_a_map_of_another_size_than_its_pools_were_made_for(network: Xception, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"want \(N, 3, 66, 66\)"):
        network(torch.zeros(shape))


@pytest.mark.parametrize(("size", "padding", "ceil_mode"), [(74, 0, True), (147, 1, False)])
def test_pools_pad_inside_the_pool(size: int, padding: int, ceil_mode: bool) -> None:
    pool = same_max_pool(size)
    assert (pool.padding, pool.ceil_mode) == (padding, ceil_mode)
    assert pool(torch.zeros(1, 1, size, size)).shape[-1] == (size + 1) // 2


def test_a_block_leaves_its_input_as_it_was(network: Xception) -> None:
    size = network.config.image_size
    x = torch.randn(1, 3, size, size)
    with torch.no_grad():
        for name, block in network.blocks():
            before = x.clone()
            y = block(x)
            assert torch.equal(x, before), name
            x = y


def test_dropout_acts_in_training_only() -> None:
    network = Xception(XceptionConfig(width=0.05, middle_blocks=0, image_size=32, dropout=0.5))
    features = torch.ones(1, network.config.channels(2048), 1, 1)
    network.head.train()
    assert not torch.equal(network.head(features), network.head(features))
    network.head.eval()
    assert torch.equal(network.head(features), network.head(features))


def test_kernels_start_glorot_uniform_as_in_keras() -> None:
    network = Xception(XceptionConfig(middle_blocks=0))
    depthwise = network.get_parameter("block4.sepconv2.depthwise.weight")
    # Keras: sqrt(6 / (fan_in + fan_out)) with 9 · 728 and 9 · 1 for its (3, 3, 728, 1) kernel.
    limit = (6 / (9 * 728 + 9)) ** 0.5
    assert 0.98 * limit < depthwise.abs().max().item() <= limit
    assert network.get_parameter("head.predictions.bias").abs().max() == 0


def test_gradients_reach_every_parameter() -> None:
    network = Xception(XceptionConfig(width=0.05, middle_blocks=1, image_size=48, classes=4)).train()
    network(torch.randn(4, 3, 48, 48)).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert silent == []


def test_can_be_traced_symbolically(network: Xception) -> None:
    size = network.config.image_size
    x = torch.rand(1, 3, size, size)
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(network)(x), network(x))
