"""What a vendor's file hands over: a network with its facts; and how weights are named and drawn."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from edgex.networks.sources.facts import Facts
from edgex_runtime.provenance import file_sha256

# Of the random weights that `--weights none` draws: the same network on every machine.
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer(Facts):
    """A network, and what its vendor says of it.

    Attributes:
        network: Float images → (N, classes) logits, in evaluation mode, on the CPU.
        layout: Of the images that `network` takes.
        color: Of the images that `network` takes.
    """

    network: nn.Module
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    color: Literal["RGB", "BGR"] = "RGB"


def weights_sha256(network: nn.Module, weights: str | None) -> str:
    """Digest of the file of weights that `--weights` named, else of the network's tensors in their order.

    Without their names: Keras numbers those over the whole process.
    """
    if weights not in (None, "none", "default"):
        return file_sha256(Path(weights))
    digest = hashlib.sha256()
    for tensor in (*network.parameters(), *network.buffers()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{values.dtype}{tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


@contextmanager
def seeded() -> Iterator[None]:
    """Inside, whatever a library draws comes from `SEED`; afterwards its generators are as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (libraries draw from numpy's global state)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            random.seed(SEED)
            np.random.seed(SEED)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
