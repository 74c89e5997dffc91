"""A network of a library's without its weights: random ones, or a user's by the network's own names, all or nothing."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from edgex.networks.sources.contract import require_classes
from edgex.networks.sources.facts import Missing
from edgex.networks.sources.offer import seeded
from edgex.networks.tensor_file import read_tensors
from edgex_runtime.errors import WeightsError

_SHOWN = 8


def build_without_published(source: str, missing: Missing, build: Callable[[int], nn.Module]) -> nn.Module:
    """Build a network for the user's labels, with the weights that `--weights` names: `none`, or a file.

    Args:
        source: As the user wrote it.
        missing: What the user said; its `weights` are neither None nor `default`.
        build: Makes a network with so many logits.

    Raises:
        SpecError: If the user named no labels.
        WeightsError: If the file does not fit.
    """
    assert missing.weights is not None
    with seeded():
        network = build(require_classes(source, missing))
    if missing.weights != "none":
        load_state(network, Path(missing.weights))
    return network


def load_state(network: nn.Module, path: Path) -> None:
    """Load a state dict, in place.

    Raises:
        WeightsError: If the file cannot be read, or is not of this network.
    """
    if path.suffix.lower() != ".safetensors":
        raise WeightsError(
            f"{path}: want 'default', 'none' or the network's state dict as .safetensors, got "
            f"{path.suffix or 'no suffix'!r}: pickles run code, so save it with "
            "safetensors.torch.save_file(network.state_dict(), 'weights.safetensors')"
        )
    tensors = read_tensors(path)
    state = network.state_dict()
    # Batch-norm counts its batches; files by other tools leave that out, and nothing of it reaches the logits.
    wanted = {name for name in state if not name.endswith("num_batches_tracked")}
    faults = [f"{name}: missing" for name in sorted(wanted - tensors.keys())]
    faults += [f"{name}: unexpected" for name in sorted(tensors.keys() - state.keys())]
    faults += [
        f"{name}: want the shape {tuple(state[name].shape)}, got {tuple(tensors[name].shape)}"
        for name in sorted(wanted & tensors.keys())
        if state[name].shape != tensors[name].shape
    ]
    if faults:
        more = f"\n  … {len(faults)} in all" if len(faults) > _SHOWN else ""
        raise WeightsError(
            f"{path}: not of this network; nothing was loaded:\n  " + "\n  ".join(faults[:_SHOWN]) + more
        )
    network.load_state_dict(tensors, strict=False)
