"""Learning to compute what the float network computes, block by block."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgex.training.quantised import QuantisedNetwork, run
from edgex_converters.graph import Graph, Place
from edgex_converters.stages.simulate import compute

# What a block hands on: its sum, and the pooled mean that the classifier reads.
_COMPARED = ("add", "mean")


class FloatNetwork(nn.Module):
    """A graph in float: (N, H, W, 3) uint8 → the values of some of its places, by their names."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        for place in graph.places:
            if place.weight is not None:
                self.register_buffer(f"{place.name}_weight", torch.from_numpy(place.weight.copy()))
            if place.bias is not None:
                self.register_buffer(f"{place.name}_bias", torch.from_numpy(place.bias.copy()))

    @torch.no_grad()
    def forward(self, images: Tensor, keep: frozenset[str]) -> dict[str, Tensor]:
        """The values of the places `keep`."""
        return run(self.graph, self._place, images, keep)

    def _place(self, place: Place, inputs: list[Tensor]) -> Tensor:
        weight, bias = (getattr(self, f"{place.name}_{part}", None) for part in ("weight", "bias"))
        x = compute(place, inputs, weight, bias)
        return functional.relu(x) if "relu" in place.steps else x


class Imitation:
    """How far a quantised network is from its float one, in what each block hands on and in the answers.

    The sum of the relative square errors of the blocks' values, and the divergence of the answers (Hinton et al. 2015,
    arXiv:1503.02531). Answers alone teach little: a photo that the network is sure of hardly has a gradient, while a
    block's values give each of its layers thousands (FitNets, Romero et al. 2015, arXiv:1412.6550).
    """

    def __init__(self, module: QuantisedNetwork, teacher: FloatNetwork) -> None:
        self._module = module
        self._teacher = teacher
        output = module.graph.output
        self._compared = frozenset(p.name for p in module.graph.places if p.kind in _COMPARED) - {output}

    def __call__(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`; the labels say nothing here."""
        output = self._module.graph.output
        keep = self._compared | {output}
        wanted, found = self._teacher(inputs, keep), self._module.values(inputs, keep)
        answers, logits = wanted[output].log_softmax(1), found[output]
        loss = functional.kl_div(logits.log_softmax(1), answers, reduction="batchmean", log_target=True)
        for name in sorted(self._compared):
            loss = loss + (found[name] - wanted[name]).square().sum() / wanted[name].square().sum().clamp(min=1e-12)
        return loss, logits
