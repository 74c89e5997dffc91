"""Factors move between layers and no answer changes; every channel then has its share of the common range."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgex.networks.deploy import Deployed
from edgex.networks.xception import NORMALISE, Xception, XceptionConfig
from edgex.training.evening import evened
from edgex.training.seen import look
from edgex_converters.blame import read_network
from edgex_converters.graph import Graph, Place
from edgex_converters.stages.simulate import Simulation


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Of a network of which one channel in eight outgrows the others after every batch-norm."""
    torch.manual_seed(0)
    network = Xception(XceptionConfig(classes=3, width=0.125, middle_blocks=1, image_size=64))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight[::8] *= 30.0
    return read_network(Deployed(network, NORMALISE).eval())


@pytest.fixture(scope="module")
def even(graph: Graph, photos: np.ndarray) -> Graph:
    return evened(graph, look(graph, photos))


def narrowness(graph: Graph, photos: np.ndarray, kind: str) -> float:
    """How much less than the widest channel the median one reaches, over the places of a kind: a geometric mean."""
    seen = look(graph, photos)
    wanted = [p for p in graph.places if p.kind == "conv" and ("relu" in p.steps) == (kind == "relu")]
    shares = [seen[p.name].peaks for p in wanted]
    return float(np.exp(np.mean([np.log(share.max() / max(float(np.median(share)), 1e-9)) for share in shares])))


def test_answers_are_the_same_in_float(graph: Graph, even: Graph, photos: np.ndarray) -> None:
    before, after = (Simulation(one).run(photos)[graph.output].numpy() for one in (graph, even))

    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4 * np.abs(before).max())


@pytest.mark.parametrize("kind", ["relu", "linear"])
def test_channels_share_their_range_better(kind: str, graph: Graph, even: Graph, photos: np.ndarray) -> None:
    assert narrowness(even, photos, kind) < 0.8 * narrowness(graph, photos, kind)


def test_a_residual_stream_has_one_factor_a_channel(graph: Graph, even: Graph, photos: np.ndarray) -> None:
    """Sums of one stream are each scaled alike, or their identity shortcuts would not add up."""
    before, after = (Simulation(one).run(photos) for one in (graph, even))
    factors = [
        (after[name] / before[name]).nanmedian(0).values.flatten(1).nanmedian(1).values
        for name in ("block4_add", "block5_add")
    ]

    assert float(factors[0].max() / factors[0].min()) > 1.5
    torch.testing.assert_close(factors[0], factors[1], rtol=1e-2, atol=1e-2)


def test_groups_of_a_convolution_read_the_factors_of_their_own_channels(photos: np.ndarray) -> None:
    """Xception has none between one channel and all; other networks do."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(4, 3, 1, 1)).astype(np.float32) * np.array([9, 1, 5, 1], np.float32).reshape(-1, 1, 1, 1)
    weights = {"first": first, "grouped": rng.normal(size=(6, 2, 3, 3)), "last": rng.normal(size=(3, 6, 1, 1))}
    places, before = [Place(kind="image", inputs=(), value="image", name="image", permutation=(0, 3, 1, 2))], "image"
    for name, weight in weights.items():
        layer = Place(kind="conv", inputs=(before,), value=name, name=name, weight=np.float32(weight), cuts=(None,))
        places.append(replace(layer, groups=2) if name == "grouped" else layer)
        before = name
    network = Graph(places=tuple(places), output="last")

    found = evened(network, look(network, photos))

    assert not np.allclose(found["grouped"].weight, network["grouped"].weight)
    wanted, answers = (Simulation(one).run(photos)["last"] for one in (network, found))
    torch.testing.assert_close(answers, wanted, rtol=1e-3, atol=1e-2)
