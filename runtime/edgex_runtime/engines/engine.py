"""The seam between edgex and whatever executes a model file: four members, one file a vendor."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Device = Literal["auto", "cpu", "gpu", "npu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What a user may ask of an engine.

    Attributes:
        device: ``auto`` takes the CPU first and an accelerator only where the engine is known to be right on it.
        threads: Intra-op threads; None leaves it to the engine.
        spin: Whether idle threads turn at full load for the next operator, which comes sooner and costs heat and other
            programs' time; `edgex tune` measures whether it pays. Only onnxruntime has the choice.
    """

    device: Device = "auto"
    threads: int | None = None
    spin: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads: want 1 or more, got {self.threads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """Who runs the model, really: never what was asked for, always what the vendor reports after loading."""

    name: str
    version: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What the graph declares of itself; -1 stands for a dimension that may vary.

    Attributes:
        input_shape: Batch first, in the graph's own layout.
        input_dtype: numpy's name: ``uint8``, ``float32``.
        output_shape: (batch, classes).
        output_dtype: numpy's name, before any dequantisation by the engine.
    """

    input_shape: tuple[int, ...]
    input_dtype: str
    output_shape: tuple[int, ...]
    output_dtype: str


class Engine(Protocol):
    """One loaded model file.

    An engine is built as ``Engine(path, options)``, raises `ModelFileError` for a file it cannot load and
    `DeviceUnavailableError` for a device that is not there, and may be used by one thread at a time.
    """

    @property
    def info(self) -> EngineInfo:
        """Who runs it."""
        ...

    @property
    def signature(self) -> Signature:
        """What the graph declares."""
        ...

    def run(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        """Execute the graph.

        Args:
            batch: (N, *input_shape[1:]) of `signature.input_dtype`, C-contiguous. Any N ≥ 1: an engine whose graph has
                a fixed batch runs it in pieces.

        Returns:
            (N, classes) float32, owned by the caller; a quantised output is dequantised with the file's own scale.
        """
        ...

    def close(self) -> None:
        """Release the model; a second call does nothing."""
        ...
