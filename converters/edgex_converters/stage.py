"""What a stage is: one step that reads one model file (or the network) and writes another."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgex_converters.config import QuantizeConfig
from edgex_converters.learned import Ranges
from edgex_converters.source import LazyNetwork, OnnxFile
from edgex_converters.target import Target
from edgex_runtime.errors import MissingExtraError
from edgex_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that a stage may read besides its source file.

    Attributes:
        lazy_network: What is converted; only stages that start from the network build it.
        spec: The checkpoint's contract.
        calibration: (N, H, W, 3) uint8 RGB, resized by the contract; None where nothing is quantised.
        quantize: How to quantise.
        keep_float: What must stay in float, as the format's quantiser calls it.
        ranges: What quantisation-aware training has learned, by place; None where the calibration photos decide.
    """

    lazy_network: LazyNetwork
    spec: ModelSpec
    calibration: NDArray[np.uint8] | None
    quantize: QuantizeConfig
    keep_float: tuple[str, ...] = ()
    ranges: Ranges | None = None

    @property
    def network(self) -> "nn.Module":
        """Takes (N, H, W, 3) uint8 RGB, gives (N, classes) float32 logits; in evaluation mode."""
        return self.lazy_network.module()

    @property
    def onnx_file(self) -> OnnxFile:
        """What takes the network's place where there is none."""
        file = self.lazy_network.get()
        assert isinstance(file, OnnxFile)  # `plan` gives no other source to `adopt_onnx`.
        return file

    @property
    def calibration_images(self) -> NDArray[np.uint8]:
        """The calibration photos; only int8 stages ask, and those are never planned without."""
        assert self.calibration is not None
        return self.calibration


# Reads `source` (None: the network itself) and writes `destination`, in a folder of the stage's own; gives back what
# the report should say of it.
Run = Callable[[Job, Path | None, Path], tuple[str, ...] | None]
# Writes into a finished file what its ecosystem wants to read there and the contract's writer cannot.
Describe = Callable[[Path, ModelSpec], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A row of the table in `recipes`. Code is named as ``module:function`` and imported when the stage runs.

    Attributes:
        name: As it stands in reports: ``quantize_onnx``.
        entry: What makes the artifact.
        requires: The artifact it starts from; None for the network itself.
        ensures: The artifact it makes.
        tools: Packages that decide what comes out: their versions belong into the provenance and into the cache's key.
        calibrates: Whether it reads the calibration photos.
        settings: Which fields of `QuantizeConfig` it reads, but for those that choose the photos.
        description: Adds the format's native metadata; None where the contract's writer does all.
        portability: Says why the file would answer differently on another CPU, or None; None where that is not known
            to happen.
    """

    name: str
    entry: str
    requires: Target | None
    ensures: Target
    tools: tuple[str, ...]
    calibrates: bool = False
    settings: tuple[str, ...] = ()
    description: str | None = None
    portability: str | None = None

    def load(self) -> Run:
        """Import the stage's code.

        Raises:
            MissingExtraError: If a tool that the stage stands on is not installed.
        """
        run: Run = load_entry(self.entry)
        return run

    def load_description(self) -> Describe | None:
        """Import what adds the native metadata."""
        return load_entry(self.description) if self.description else None


def load_entry(entry: str) -> Any:
    """Import ``module:function``.

    Raises:
        MissingExtraError: If a tool that the module stands on is not installed.
    """
    module, _, function = entry.partition(":")
    try:
        return getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("edgex"):
            raise
        raise MissingExtraError(
            f"{module.rpartition('.')[2]} needs {error.name!r}, which is not installed: pip install 'edgex[convert]'"
        ) from error
