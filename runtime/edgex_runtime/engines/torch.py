"""PyTorch runs our checkpoints (.safetensors): the reference that every conversion is measured against.

The code of a network is found by the family that the checkpoint names, an entry point of the group `edgex.networks`, so
that the runtime never imports upwards.

It is also the one engine that can say where it looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, equations 1
and 2), at a map that is found by a rule and not by a layer's name: see `find_last_map`.
"""

import copy
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgex_runtime.engines.engine import EngineInfo, EngineOptions, Signature
from edgex_runtime.engines.tensors import ANY, check_batch, check_classifier
from edgex_runtime.errors import BadInputError, DeviceUnavailableError, ModelFileError, SpecError
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.spec import ModelSpec

GROUP = "edgex.networks"
_DEVICES = {"auto": "cpu", "cpu": "cpu", "gpu": "cuda"}
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
Seen = Callable[[nn.Module, int, Tensor], "Tensor | None"]


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


@dataclass(frozen=True, slots=True)
class Place:
    """A layer's output: of the `call`-th time that `layer` runs, for layers such as a ReLU may be used repeatedly."""

    layer: nn.Module
    call: int


class GradCam:
    """Explains one network; calls from several threads take turns.

    Args:
        network: In evaluation mode. It is not changed: what is observed is a twin that shares its weights, so that
            another thread may run `network` meanwhile.
    """

    def __init__(self, network: nn.Module) -> None:
        weights: dict[int, object] = {id(one): one for one in itertools.chain(network.parameters(), network.buffers())}
        self._twin = copy.deepcopy(network, weights)
        self._lock = threading.Lock()
        self._place: Place | None = None

    def explain(self, batch: Tensor, class_index: int) -> Tensor:
        """One picture and one class → (h, w), 0..1; see `Explainer.explain`."""
        with self._lock:
            if self._place is None:
                with torch.no_grad():
                    self._place = find_last_map(self._twin, batch)
            last_map, logits = self._run(batch, self._place)
        if not 0 <= class_index < logits.shape[1]:
            raise BadInputError(f"class {class_index}: want one of 0 to {logits.shape[1] - 1}")
        (gradient,) = torch.autograd.grad(logits[0, class_index], last_map)
        weights = gradient.mean((2, 3), keepdim=True)
        heat = torch.relu((weights * last_map.detach()).sum(1))[0]
        peak = heat.max()
        return heat / peak if peak > 0 else heat

    def _run(self, batch: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        """The map, cut off from what made it, and the logits that follow from it: no gradient is kept before it."""
        kept: list[Tensor] = []

        def cut(layer: nn.Module, call: int, output: Tensor) -> Tensor | None:
            if (layer, call) != (place.layer, place.call):
                return None
            kept.append(output.detach().requires_grad_())
            # A copy goes on: the next layer may work in place, which a tensor with a gradient of its own forbids.
            return kept[0].clone()

        with _watched(self._twin, cut), torch.enable_grad():
            logits = self._twin(batch)
        return kept[0], logits


def find_last_map(network: nn.Module, batch: Tensor) -> Place:
    """Where the network last knows where things are.

    That is the output of the last convolution that runs over more than one position, and of what follows it and leaves
    its shape alone: batch-norm, activation, an activation after a shortcut is added.

    Raises:
        BadInputError: If no convolution runs.
    """
    last: Place | None = None
    shape: torch.Size | None = None

    def look(layer: nn.Module, call: int, output: Tensor) -> None:
        nonlocal last, shape
        if output.ndim != 4 or output.shape[2] * output.shape[3] == 1:
            shape = None
        elif isinstance(layer, _CONVOLUTIONS) or output.shape == shape:
            last, shape = Place(layer, call), output.shape
        else:
            shape = None

    with _watched(network, look):
        network(batch)
    if last is None:
        raise BadInputError("Grad-CAM wants a network with a convolution over the picture, this one has none")
    return last


@contextmanager
def _watched(network: nn.Module, see: Seen) -> Iterator[None]:
    """Call `see` with each layer that has no layers in it, how often it ran before, and its output."""
    calls: dict[nn.Module, int] = {}

    def hook(layer: nn.Module, _: object, output: object) -> Tensor | None:
        call = calls[layer] = calls.get(layer, -1) + 1
        return see(layer, call, output) if isinstance(output, Tensor) else None

    handles = [one.register_forward_hook(hook) for one in network.modules() if not any(one.children())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
