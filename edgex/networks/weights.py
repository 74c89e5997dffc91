"""Loading weights, whoever saved them: a file's names tell whose they are, and every tensor must fit the network."""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edgex.networks.keras_names import keras_1_numbered, keras_3_numbered, keras_named
from edgex.networks.naming import Renamed, Scheme, own_names
from edgex.networks.tensor_file import labels_in, read_header, read_tensors
from edgex.networks.timm_names import timm_names
from edgex.networks.xception import Xception
from edgex_runtime.errors import WeightsError

__all__ = ["SCHEMES", "LoadReport", "labels_in", "load_weights", "read_header", "read_tensors"]

_log = logging.getLogger(__name__)

SCHEMES: Mapping[str, Scheme] = {
    "edgex": own_names,
    "Keras": keras_named,
    "Keras 1": keras_1_numbered,
    "Keras 3": keras_3_numbered,
    "timm": timm_names,
}

# What stands in files beside the weights of a network: counters, optimiser state, a dropout's random state, ranges.
_LEFT_ASIDE = re.compile(r"(^|[./])(num_batches_tracked$|optimizer/|seed_generator/)|^activation_range\.")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a file gave.

    Attributes:
        scheme: Whose names the file has, a key of `SCHEMES`.
        loaded: Keys of the network's state dict that now hold the file's values, as float32.
        missing: Keys that `allow_missing` let keep the values that they had.
        unexpected: Names in the file that are no weights and were left aside, such as batch counters.
    """

    scheme: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def load_weights(network: Xception, path: Path, *, allow_missing: Callable[[str], bool] | None = None) -> LoadReport:
    """Load a file into `network`, all of it or nothing.

    Args:
        network: Takes the values in place.
        path: A checkpoint of ours; a Keras `.h5`, `.weights.h5` or `.keras`; safetensors with Keras's or timm's names.
        allow_missing: Whether a key of the network's state dict may keep its value where the file has no such tensor,
            or has it in another shape: ``lambda key: key.startswith("head.")`` for other classes.

    Raises:
        WeightsError: If the file cannot be read; or names each tensor that is missing, unexpected, of another shape or
            type, or not finite. The network is then as it was.
        MissingExtraError: If a Keras file is read without h5py.
    """
    tensors = read_tensors(path)
    scheme, renamed = _fitting_scheme(network, tensors, path)
    plan = _plan(network, tensors, renamed, allow_missing or _nothing)
    if plan.faults:
        raise _misfit(network, path, scheme, plan.faults)
    state = network.state_dict()
    with torch.no_grad():
        for item in plan.take:
            state[item.ours].copy_(_ours(item, tensors[item.theirs]))
    _log.info("%s: %d tensors by %s names, %d kept as they were", path, len(plan.take), scheme, len(plan.missing))
    loaded = tuple(item.ours for item in plan.take)
    return LoadReport(scheme=scheme, loaded=loaded, missing=tuple(plan.missing), unexpected=tuple(plan.left_aside))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What will be done with each tensor."""

    take: list[Renamed]
    missing: list[str]
    left_aside: list[str]
    faults: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """Why a tensor cannot be taken, and whether a network may do without it."""

    text: str
    may_be_missing: bool = False


def _nothing(key: str) -> bool:
    return False


def _plan(
    network: Xception, tensors: Mapping[str, Tensor], renamed: list[Renamed], allow_missing: Callable[[str], bool]
) -> _Plan:
    known = {item.theirs for item in renamed}
    unknown = [name for name in tensors if name not in known]
    left_aside = [name for name in unknown if _LEFT_ASIDE.search(name)]
    plan = _Plan(take=[], missing=[], left_aside=left_aside, faults=[])
    plan.faults.extend(f"{name}: unexpected" for name in unknown if name not in left_aside)
    state = network.state_dict()
    for item in renamed:
        fault = _fault(item, tensors.get(item.theirs), state[item.ours])
        if fault is None:
            plan.take.append(item)
        elif fault.may_be_missing and allow_missing(item.ours):
            plan.missing.append(item.ours)
        else:
            plan.faults.append(f"{item.theirs}: {fault.text}")
    return plan


def _fitting_scheme(network: Xception, names: Collection[str], path: Path) -> tuple[str, list[Renamed]]:
    """The scheme that knows most of the file's names."""
    candidates = {title: scheme(network, names) for title, scheme in SCHEMES.items()}
    hits = {title: sum(item.theirs in names for item in renamed) for title, renamed in candidates.items()}
    best = max(hits, key=lambda title: hits[title])
    if not hits[best]:
        raise WeightsError(
            f"{path}: want weights of an Xception with names by {', '.join(SCHEMES)}; "
            f"none of its {len(names)} names is one: {_some(names)}"
        )
    return best, candidates[best]


def _fault(item: Renamed, tensor: Tensor | None, want: Tensor) -> _Fault | None:
    if tensor is None:
        return _Fault(text=f"missing (it is {item.ours} here)", may_be_missing=True)
    # The shape that the file would have: the inverse permutation of the one that leads from it.
    shape = want.permute(*_inverse(item.axes)).shape if item.axes else want.shape
    if tensor.shape != shape:
        return _Fault(text=f"want the shape {tuple(shape)}, got {tuple(tensor.shape)}", may_be_missing=True)
    if tensor.dtype not in _FLOATS:
        return _Fault(text=f"want floating-point values, got {str(tensor.dtype).removeprefix('torch.')}")
    if not torch.isfinite(tensor).all():
        return _Fault(text="want finite values, got NaN or infinity")
    if item.ours.endswith("running_var") and bool((tensor < 0).any()):
        return _Fault(text="want a variance of 0 or more, got a negative one")
    return None


def _ours(item: Renamed, tensor: Tensor) -> Tensor:
    return (tensor.permute(*item.axes) if item.axes else tensor).to(torch.float32)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axes.index(i) for i in range(len(axes)))


def _misfit(network: Xception, path: Path, scheme: str, faults: Iterable[str]) -> WeightsError:
    listed = sorted(faults)
    return WeightsError(
        f"{path} ({scheme} names): {len(listed)} of its tensors do not fit {network.config}; nothing was loaded. "
        "Set the config that the file was made with, or take the whole file:\n  " + "\n  ".join(listed)
    )


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "") if names else "it is empty"
