"""An engine without a vendor: a fixed linear classifier of coarse colours, for tests of everything above the seam.

It runs a safetensors file that holds nothing but a contract. Like a real network it tells apart swapped channels, a
moved picture and another order of classes; unlike one it takes no time.
"""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.engines.engine import EngineInfo, EngineOptions, Signature
from edgex_runtime.engines.tensors import ANY, check_batch
from edgex_runtime.errors import DeviceUnavailableError, SpecError
from edgex_runtime.metadata.registry import read_spec

_CELLS = 4


class FakeEngine:
    """Logit c = ⟨weights of class c, mean colours of the 4 × 4 cells of the picture⟩."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        if options.device not in ("auto", "cpu"):
            raise DeviceUnavailableError(f"device {options.device!r}: the fake engine has cpu only; use device 'cpu'")
        spec = read_spec(path)
        if spec is None:
            raise SpecError(f"{path}: the fake engine wants a contract in it")
        self._layout = spec.input.layout
        self._signature = Signature(
            input_shape=(ANY, *spec.input.shape),
            input_dtype=spec.input.dtype,
            output_shape=(ANY, len(spec.labels)),
            output_dtype="float32",
        )
        self._weights = np.stack([_weights(spec.name, c) for c in range(len(spec.labels))])

    @property
    def info(self) -> EngineInfo:
        """Who runs it."""
        return EngineInfo(name="fake", version="1", device="cpu")

    @property
    def signature(self) -> Signature:
        """What the contract declares."""
        return self._signature

    def run(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        """Execute the classifier; see `Engine.run`."""
        check_batch(batch, self._signature)
        pictures = (
            batch.astype(np.float32) if self._layout == "NHWC" else batch.transpose(0, 2, 3, 1).astype(np.float32)
        )
        rows = np.array_split(pictures, _CELLS, axis=1)
        cells = [cell.mean((1, 2)) for row in rows for cell in np.array_split(row, _CELLS, axis=2)]
        colours: NDArray[np.float32] = np.concatenate(cells, axis=1) / np.float32(255)
        return (colours @ self._weights.T).astype(np.float32)

    def close(self) -> None:
        """Nothing to release."""


def _weights(name: str, index: int) -> NDArray[np.float32]:
    """(cells × cells × 3,), uniform in −4..4, from the model's name: another name is another model."""
    seed = hashlib.sha256(f"{name}\0{index}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(seed, dtype=np.uint32))
    return rng.uniform(-4, 4, _CELLS * _CELLS * 3).astype(np.float32)
