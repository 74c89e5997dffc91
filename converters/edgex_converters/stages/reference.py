"""Runs the PyTorch network itself on the evaluation images: what every artifact is held to."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgex_converters.evaluation import Progress

_BATCH = 8


def run(network: nn.Module, inputs: NDArray[np.uint8], progress: Progress) -> NDArray[np.float32]:
    """The network's logits, (N, classes) float32.

    Args:
        network: (N, H, W, 3) uint8 RGB → logits, in evaluation mode.
        inputs: (N, H, W, 3) uint8 RGB, resized by the contract.
        progress: Called with (done, all).
    """
    logits = []
    with torch.inference_mode():
        for start in range(0, len(inputs), _BATCH):
            batch = torch.from_numpy(np.array(inputs[start : start + _BATCH]))
            logits.append(network(batch).numpy())
            progress(min(start + _BATCH, len(inputs)), len(inputs))
    return np.concatenate(logits)
