"""A checkpoint: a network's weights and its contract in one `.safetensors` file, never a pickle.

`load_deployed` is what the runtime's torch engine calls, through the entry point `edgex.networks`.
"""

from dataclasses import asdict, replace
from pathlib import Path

import safetensors.torch
import torch

from edgex.networks.deploy import Deployed
from edgex.networks.naming import own_names
from edgex.networks.ranges import as_arrays
from edgex.networks.weights import load_weights
from edgex.networks.xception import Xception, XceptionConfig
from edgex_converters.learned import Ranges
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import SpecError
from edgex_runtime.metadata.carrier import CONTRACT_KEY
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.schema import from_plain
from edgex_runtime.spec import ModelSpec, NetworkRef

FAMILY = "xception"


def save_checkpoint(path: Path, network: Xception, spec: ModelSpec, ranges: Ranges | None = None) -> None:
    """Write weights and contract, atomically.

    Args:
        path: Ends in ``.safetensors``; its folder exists.
        network: Its weights are written as they are, without batch-norm's counters.
        spec: What the file will say of itself. `spec.network` may be None and is filled in.
        ranges: What quantisation-aware training has learned, by place; None where it was not trained so.

    Raises:
        SpecError: If `spec` is not of this network: other settings, labels or input size, or no normalise.
        OSError: If the folder cannot be written to.
    """
    if path.suffix.lower() != ".safetensors":
        raise SpecError(f"{path}: a checkpoint ends in .safetensors, so that every reader knows it by its name")
    ref = NetworkRef(family=FAMILY, config=asdict(network.config))
    if spec.network is None:
        spec = replace(spec, network=ref)
    if spec.network != ref:
        raise SpecError(f"{path}: the contract names {spec.network}, the network to save is {ref}")
    _require_agreement(spec, network.config, path)
    state = network.state_dict()
    tensors = {item.ours: state[item.ours].detach().cpu().contiguous() for item in own_names(network, ())}
    tensors |= {name: torch.from_numpy(ends) for name, ends in as_arrays(ranges or {}).items()}
    header = {"format": "pt", CONTRACT_KEY: spec.to_json()}
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(tensors, metadata=header))


def load_checkpoint(path: Path) -> tuple[Xception, ModelSpec]:
    """Build the network that a checkpoint names, with its weights, in training mode.

    Raises:
        ModelFileError: If it is no safetensors file.
        SpecError: If it has no contract, or one that this code cannot build.
        WeightsError: If the weights are not those of the network that the contract names.
    """
    spec = read_spec(path)
    if spec is None:
        raise SpecError(
            f"{path}: want a checkpoint, got weights without a contract: nothing says labels, input size and resize; "
            "give them with --spec spec.toml, or start from these weights with `edgex train --weights`"
        )
    if spec.network is None or spec.network.family != FAMILY:
        family = spec.network.family if spec.network else None
        raise SpecError(f"{path}: want a contract of the network family {FAMILY!r}, got {family!r}")
    config = from_plain(XceptionConfig, dict(spec.network.config), where=f"{path}: contract.network.config")
    _require_agreement(spec, config, path)
    # Drawing initial weights would take as long as reading the file, and disturb the caller's random state.
    with torch.device("meta"):
        network = Xception(config)
    network.to_empty(device="cpu")
    load_weights(network, path)
    for name, counter in network.named_buffers():
        if name.endswith("num_batches_tracked"):
            counter.zero_()
    return network, spec


def load_deployed(path: Path) -> Deployed:
    """The checkpoint as a graph from bytes to logits, ready to run: (N, H, W, 3) uint8 → (N, classes) float32.

    Raises:
        ModelFileError: If it is no safetensors file.
        SpecError: If it has no contract, or one that this code cannot build.
        WeightsError: If the weights are not those of the network that the contract names.
    """
    network, spec = load_checkpoint(path)
    assert spec.normalise is not None, "_require_agreement has refused a contract without it"
    return Deployed(network, spec.normalise).eval()


def _require_agreement(spec: ModelSpec, config: XceptionConfig, path: Path) -> None:
    """The contract and the network's settings say the same thing twice; a file in which they differ serves nobody."""
    if spec.normalise is None:
        raise SpecError(f"{path}: contract.normalise is missing: the graph scales its own input")
    if len(spec.labels) != config.classes:
        raise SpecError(f"{path}: want a label for each of the {config.classes} logits, got {len(spec.labels)} labels")
    want = (config.image_size, config.image_size, 3)
    if spec.input.shape != want or (spec.input.dtype, spec.input.color) != ("uint8", "RGB"):
        raise SpecError(f"{path}: want contract.input to be {want} uint8 NHWC RGB, got {spec.input}")
