"""What passes between a user, a vendor's file and the contract: what was said, and what the vendor knows."""

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

from edgex_runtime.spec import Normalise, ResizeMode

# A size in pixels: (height, width).
Size = tuple[int, int]
Three = tuple[float, float, float]
# Of the random weights that `--weights none` draws: the same network on every machine.
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a source without a contract does not say, and the user has to; what they say wins over the library's own.

    Attributes:
        labels: A text file with one label a line, in the order of the logits.
        resize: How photos become the network's input.
        crop_fraction: With the resize ``crop``; None takes the library's, or all of it.
        input_size: Height and width.
        mean: Of each channel, RGB, in pixels 0..255.
        std: As `mean`.
        weights: ``none`` draws them at random, ``default`` takes those that the library publishes, else a file; None
            is the source's own way, which for a library is ``default``.
    """

    labels: Path | None = None
    resize: ResizeMode | None = None
    crop_fraction: float | None = None
    input_size: Size | None = None
    mean: Three | None = None
    std: Three | None = None
    weights: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """A network, and what its vendor says of it; None is what the vendor does not say.

    Attributes:
        network: Float images → (N, classes) logits, in evaluation mode, on the CPU.
        title: The stem of the files that are made of it.
        sha256: Of the weights.
        labels: In the order of the logits.
        input_size: What the network was trained at.
        resize: How photos became its input.
        crop_fraction: With ``crop``.
        normalise: RGB, pixels 0..255.
        layout: Of the images that `network` takes.
        color: Of the images that `network` takes.
    """

    network: nn.Module
    title: str
    sha256: str
    labels: tuple[str, ...] | None = None
    input_size: Size | None = None
    resize: ResizeMode | None = None
    crop_fraction: float | None = None
    normalise: Normalise | None = None
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    color: Literal["RGB", "BGR"] = "RGB"


def weights_sha256(network: nn.Module) -> str:
    """Digest of a network's tensors in their order, for weights that came from no single file.

    Without their names: Keras numbers those over the whole process.
    """
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
