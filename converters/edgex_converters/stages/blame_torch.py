"""Reads the reference network itself as a `Graph`: traced by torch.fx, batch-norm and input scaling folded here.

The folding is written out a second time on purpose: the exporters' own is one of the things that can break.
"""

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch.fx
from numpy.typing import NDArray
from torch import Tensor, nn

from edgex_converters.graph import Array, Graph, Place, assemble, layer_name
from edgex_runtime.errors import StageError

Double = NDArray[np.float64]

_PASSED_MODULES = (nn.Identity, nn.Dropout)
_PASSED_METHODS = ("to", "contiguous", "flatten")


def read(network: nn.Module) -> Graph:
    """Read a network.

    Args:
        network: (N, H, W, 3) uint8 → logits, in evaluation mode.

    Raises:
        StageError: If it cannot be traced, or something in it is not known here.
    """
    try:
        traced = torch.fx.symbolic_trace(network)
    except torch.fx.proxy.TraceError as error:
        raise StageError(f"blame: the network cannot be traced: {error}") from error
    reader = _Reader(network)
    for node in traced.graph.nodes:
        reader.visit(node)
    return assemble(reader.ops, reader.output)


class _Reader:
    def __init__(self, network: nn.Module) -> None:
        self.ops: list[Place] = []
        self.output = ""
        self._network = network
        self._scaled: dict[str, tuple[Double, Double]] = {}  # What the pixels were (minus, times) on their way here.
        self._targets: dict[Any, Callable[[torch.fx.Node], None]] = {
            operator.add: lambda node: self._add(node, "add"),
            operator.sub: self._scale,
            operator.mul: self._scale,
            nn.Conv2d: self._layer,
            nn.Linear: self._layer,
            nn.BatchNorm2d: self._batch_norm,
            nn.ReLU: lambda node: self._add(node, "relu"),
            nn.MaxPool2d: self._pool,
            nn.AdaptiveAvgPool2d: lambda node: self._add(node, "mean"),
        }

    def visit(self, node: torch.fx.Node) -> None:
        """Take one node in."""
        target = node.target
        if node.op == "call_module":
            module = self._network.get_submodule(str(target))
            target = "pass" if isinstance(module, _PASSED_MODULES) else type(module)
        if node.op == "placeholder":
            self.ops.append(Place(kind="image", inputs=(), value=node.name, permutation=(0, 1, 2, 3), ops=("image",)))
        elif node.op == "output":
            self.output = str(node.args[0])
        elif target == "permute":
            self._add(node, "transpose", permutation=tuple(node.args[1:]))
        elif target == "pass" or (node.op == "call_method" and target in _PASSED_METHODS):
            self._add(node, "pass")
            self._keep_scale(node)
        elif target in self._targets:
            self._targets[target](node)
        # An op without a result that anybody reads is a check of the input.
        elif node.op != "get_attr" and node.users:
            raise StageError(f"blame: {node.name}: {target} is not known here")

    def _add(self, node: torch.fx.Node, kind: Any, **fields: Any) -> None:
        inputs = tuple(str(argument) for argument in node.args if self._is_value(argument))
        self.ops.append(Place(kind=kind, inputs=inputs, value=node.name, ops=(node.name,), **fields))

    @staticmethod
    def _is_value(argument: Any) -> bool:
        return isinstance(argument, torch.fx.Node) and argument.op != "get_attr"

    def _keep_scale(self, node: torch.fx.Node) -> None:
        source = str(node.args[0])
        if source in self._scaled:
            self._scaled[node.name] = self._scaled[source]

    def _scale(self, node: torch.fx.Node) -> None:
        by = node.args[1]
        if not isinstance(by, torch.fx.Node) or by.op != "get_attr":
            raise StageError(f"blame: {node.name}: scaling by something computed is not known here")
        constant = _array(operator.attrgetter(str(by.target))(self._network)).reshape(-1)
        minus, times = self._scaled.get(str(node.args[0]), (np.zeros(1), np.ones(1)))
        if node.target is operator.sub:
            minus = minus + constant / times
        else:
            times = times * constant
        self._add(node, "pass")
        self._scaled[node.name] = (minus, times)

    def _layer(self, node: torch.fx.Node) -> None:
        module: Any = self._network.get_submodule(str(node.target))
        weight, bias = _array(module.weight), None if module.bias is None else _array(module.bias)
        scaled = self._scaled.get(str(node.args[0]))
        if scaled is not None:
            minus, times = (value.reshape(1, -1, 1, 1) for value in scaled)
            weight = weight * times
            bias = (0.0 if bias is None else bias) - (weight * minus).sum((1, 2, 3))
        fields: dict[str, Any] = {"weight": _single(weight), "bias": None if bias is None else _single(bias)}
        if not isinstance(module, nn.Conv2d):
            self._add(node, "linear", name=layer_name(str(node.target)), **fields)
            return
        if isinstance(module.padding, str) or set(module.dilation) != {1}:
            raise StageError(f"blame: {node.name}: dilations and padding by name are not known here")
        if scaled is not None and any(module.padding):
            raise StageError(f"blame: {node.name}: scaling before a convolution that pads is not known here")
        fields |= {"stride": module.stride, "pads": (*module.padding, *module.padding), "groups": module.groups}
        self._add(node, "conv", name=layer_name(str(node.target)), **fields)

    def _batch_norm(self, node: torch.fx.Node) -> None:
        module: Any = self._network.get_submodule(str(node.target))
        place = self.ops[-1]
        if place.value != str(node.args[0]) or place.weight is None:
            raise StageError(f"blame: {node.name}: want a batch-norm right after a layer, found it after {place.value}")
        gain = _array(module.weight) / np.sqrt(_array(module.running_var) + module.eps)
        bias = 0.0 if place.bias is None else place.bias
        shift = _array(module.bias) + (bias - _array(module.running_mean)) * gain
        weight = place.weight * gain.reshape(-1, *[1] * (place.weight.ndim - 1))
        self.ops[-1] = replace(place, weight=_single(weight), bias=_single(shift), value=node.name)

    def _pool(self, node: torch.fx.Node) -> None:
        module: Any = self._network.get_submodule(str(node.target))
        kernel, stride, pad = (_pair(value) for value in (module.kernel_size, module.stride, module.padding))
        fields = {"kernel": kernel, "stride": stride, "pads": (*pad, *pad), "rounds_up": module.ceil_mode}
        self._add(node, "max_pool", **fields)


def _array(tensor: Tensor) -> Double:
    """In double precision: the folding cancels."""
    values: Double = tensor.detach().numpy().astype(np.float64)
    return values


def _single(values: Double) -> Array:
    return values.astype(np.float32)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
