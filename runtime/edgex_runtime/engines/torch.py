"""PyTorch runs our checkpoints (.safetensors): the reference that every conversion is measured against.

The code of a network is found by the family that the checkpoint names, an entry point of the group `edgex.networks`, so
that the runtime never imports upwards.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgex_runtime.engines.engine import EngineInfo, EngineOptions, Signature
from edgex_runtime.engines.gradcam import GradCam
from edgex_runtime.engines.tensors import ANY, check_batch, check_classifier
from edgex_runtime.errors import DeviceUnavailableError, ModelFileError, SpecError
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.spec import ModelSpec

GROUP = "edgex.networks"
_DEVICES = {"auto": "cpu", "cpu": "cpu", "gpu": "cuda"}


class TorchEngine:
    """One checkpoint as a module that takes (N, H, W, 3) uint8 and returns logits."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._device = _device(options.device)
        self._threads = options.threads
        spec = read_spec(path)
        if spec is None or spec.network is None:
            raise SpecError(f"{path}: want a checkpoint that names its network, as `edgex train` writes them")
        network = _loader(path, spec.network.family)(path)
        network = network.eval().to(self._device)
        # The images are NHWC in memory: convolutions that find their weights so too reorder neither.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # (absent from its stubs)
        # Nothing here learns: only what `explain` asks for keeps gradients.
        self._network: torch.nn.Module | None = network.requires_grad_(requires_grad=False)
        self._gradcam: GradCam | None = None
        self._signature = check_classifier(path, self._declare(spec))
        self._info = EngineInfo(name="torch", version=torch.__version__, device=_device_name(self._device))

    @property
    def info(self) -> EngineInfo:
        """Who runs it."""
        return self._info

    @property
    def signature(self) -> Signature:
        """What the graph declares."""
        return self._signature

    def run(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        """Execute the network; see `Engine.run`."""
        check_batch(batch, self._signature)
        return self._execute(batch)

    def explain(self, batch: NDArray[np.generic], class_index: int) -> NDArray[np.float32]:
        """Where the class is seen, by Grad-CAM; see `Explainer.explain`."""
        check_batch(batch, self._signature)
        assert self._network is not None, "the engine is closed"
        if self._gradcam is None:
            self._gradcam = GradCam(self._network)
        return self._gradcam.explain(torch.from_numpy(batch.copy()).to(self._device), class_index).float().cpu().numpy()

    def close(self) -> None:
        """Release the network."""
        self._network = self._gradcam = None

    def _declare(self, spec: ModelSpec) -> Signature:
        # A module declares nothing of itself: the shape in is the checkpoint's, the shape out is what comes out.
        probe = np.zeros((1, *spec.input.shape), dtype=spec.input.dtype)
        try:
            classes = self._execute(probe).shape[1:]
        except RuntimeError as error:
            raise SpecError(f"the network does not take {probe.shape} {probe.dtype}: {error}") from error
        return Signature(
            input_shape=(ANY, *spec.input.shape),
            input_dtype=spec.input.dtype,
            output_shape=(ANY, *classes),
            output_dtype="float32",
        )

    @torch.inference_mode()
    def _execute(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        assert self._network is not None, "the engine is closed"
        # torch's threads belong to the process: two engines with different wishes take turns.
        if self._threads is not None and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        logits: torch.Tensor = self._network(
            torch.from_numpy(batch if batch.flags.writeable else batch.copy()).to(self._device)
        )
        return logits.float().cpu().numpy()


def _device(device: str) -> torch.device:
    available = ["cpu", "gpu"] if torch.cuda.is_available() else ["cpu"]
    if device != "auto" and device not in available:
        raise DeviceUnavailableError(
            f"device {device!r}: this PyTorch ({torch.__version__}) has {', '.join(available)}: "
            "use one of them, or install the CUDA build of torch and the driver"
        )
    return torch.device(_DEVICES[device])


def _device_name(device: torch.device) -> str:
    return f"gpu {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"


def _loader(path: Path, family: str) -> Callable[[Path], torch.nn.Module]:
    points = {point.name: point for point in entry_points(group=GROUP)}
    if family not in points:
        raise ModelFileError(
            f"{path}: its network is {family!r}; installed here are {', '.join(points) or 'none'}: "
            f"install the package that has an entry point {family!r} in {GROUP!r}"
        )
    loader: Callable[[Path], torch.nn.Module] = points[family].load()
    return loader
