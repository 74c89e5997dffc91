"""Grad-CAM: where in the picture a class is seen (Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2).

The map that is looked at is found by a rule and not by a layer's name: see `find_last_map`.
"""

import copy
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgex_runtime.errors import BadInputError

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d)
Seen = Callable[[nn.Module, int, Tensor], "Tensor | None"]


@dataclass(frozen=True, slots=True)
class Place:
    """A layer's output: of the `call`-th time that `layer` runs, for layers such as a ReLU may be used repeatedly."""

    layer: nn.Module
    call: int


class GradCam:
    """Explains one network; calls from several threads take turns.

    Args:
        network: In evaluation mode. It is not changed: what is observed is a twin that shares its weights, so that
            another thread may run `network` meanwhile.
    """

    def __init__(self, network: nn.Module) -> None:
        weights: dict[int, object] = {id(one): one for one in itertools.chain(network.parameters(), network.buffers())}
        self._twin = copy.deepcopy(network, weights)
        self._lock = threading.Lock()
        self._place: Place | None = None

    def explain(self, batch: Tensor, class_index: int) -> Tensor:
        """One picture and one class → (h, w), 0..1; see `Explainer.explain`."""
        with self._lock:
            if self._place is None:
                with torch.no_grad():
                    self._place = find_last_map(self._twin, batch)
            last_map, logits = self._run(batch, self._place)
        if not 0 <= class_index < logits.shape[1]:
            raise BadInputError(f"class {class_index}: want one of 0 to {logits.shape[1] - 1}")
        (gradient,) = torch.autograd.grad(logits[0, class_index], last_map)
        weights = gradient.mean((2, 3), keepdim=True)
        heat = torch.relu((weights * last_map.detach()).sum(1))[0]
        peak = heat.max()
        return heat / peak if peak > 0 else heat

    def _run(self, batch: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        """The map, cut off from what made it, and the logits that follow from it: no gradient is kept before it."""
        kept: list[Tensor] = []

        def cut(layer: nn.Module, call: int, output: Tensor) -> Tensor | None:
            if (layer, call) != (place.layer, place.call):
                return None
            kept.append(output.detach().requires_grad_())
            # A copy goes on: the next layer may work in place, which a tensor with a gradient of its own forbids.
            return kept[0].clone()

        with _watched(self._twin, cut), torch.enable_grad():
            logits = self._twin(batch)
        return kept[0], logits


def find_last_map(network: nn.Module, batch: Tensor) -> Place:
    """Where the network last knows where things are.

    That is the output of the last convolution that runs over more than one position, and of what follows it and leaves
    its shape alone: batch-norm, activation, an activation after a shortcut is added.

    Raises:
        BadInputError: If no convolution runs.
    """
    last: Place | None = None
    shape: torch.Size | None = None

    def look(layer: nn.Module, call: int, output: Tensor) -> None:
        nonlocal last, shape
        if output.ndim != 4 or output.shape[2] * output.shape[3] == 1:
            shape = None
        elif isinstance(layer, _CONVOLUTIONS) or output.shape == shape:
            last, shape = Place(layer, call), output.shape
        else:
            shape = None

    with _watched(network, look):
        network(batch)
    if last is None:
        raise BadInputError("Grad-CAM wants a network with a convolution over the picture, this one has none")
    return last


@contextmanager
def _watched(network: nn.Module, see: Seen) -> Iterator[None]:
    """Call `see` with each layer that has no layers in it, how often it ran before, and its output."""
    calls: dict[nn.Module, int] = {}

    def hook(layer: nn.Module, _: object, output: object) -> Tensor | None:
        call = calls[layer] = calls.get(layer, -1) + 1
        return see(layer, call, output) if isinstance(output, Tensor) else None

    handles = [one.register_forward_hook(hook) for one in network.modules() if not any(one.children())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
