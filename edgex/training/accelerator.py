"""Where a run computes, and what differs there: mixed precision, pinned memory, when to wait for the device."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgex.training.config import TrainConfig
from edgex_runtime.errors import DeviceUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """A device and the precision that a run uses on it.

    Attributes:
        device: ``cpu`` or a CUDA device.
        half: What matrices are multiplied in under mixed precision; None keeps float32.
    """

    device: torch.device
    half: torch.dtype | None = None

    @property
    def is_gpu(self) -> bool:
        """Whether work is queued on a device that runs on its own."""
        return self.device.type != "cpu"

    @property
    def scales_loss(self) -> bool:
        """float16 gradients underflow without a scaled loss; bfloat16 has float32's range."""
        return self.half is torch.float16

    def autocast(self) -> AbstractContextManager[object]:
        """The context of the forward pass."""
        return torch.autocast(self.device.type, dtype=self.half) if self.half is not None else nullcontext()

    def take(self, array: NDArray[np.generic]) -> Tensor:
        """Bring a batch to the device; to a GPU from pinned memory, so that the copy runs beside the computation."""
        tensor = torch.from_numpy(array)
        if not self.is_gpu:
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)


def choose_accelerator(config: TrainConfig) -> Accelerator:
    """The device that was asked for.

    Raises:
        DeviceUnavailableError: If a GPU was asked for and PyTorch finds none.
    """
    found = torch.cuda.is_available()
    if config.device == "gpu" and not found:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
        raise DeviceUnavailableError(
            f"--device gpu: PyTorch {torch.__version__} ({built}) finds no GPU here: check `nvidia-smi`, install the "
            "CUDA build of torch, or give --device cpu"
        )
    if config.device == "cpu" or not found:
        return Accelerator(device=torch.device("cpu"))
    half = (
        (torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16)
        if config.amp
        else None
    )
    return Accelerator(device=torch.device("cuda", torch.cuda.current_device()), half=half)
