"""Corrects the biases of an int8 file by what its layers get wrong on average.

Rounded weights and cut ranges move the mean of a channel, and means add up through a network where noise evens out
(Nagel et al. 2019, arXiv:1906.04721, section 4.2). Each layer is held against what the reference's layer makes of the
same inputs, so that all can be corrected at once: none pays for what an earlier one did. What comes out is kept only
where the logits are nearer to the reference's on other photos.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgex_converters.graph import Graph, require_match
from edgex_converters.stages.simulate import Simulation
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.errors import StageError
from edgex_runtime.evaluate import sqnr_db

# For the means, and as many others for the verdict. On Xception 32 photos moved no bias by more than a tenth of this.
IMAGES = 16

Tap = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How one format is read and written.

    Attributes:
        read: A file's graph.
        tap: A function that gives every place's value in the engine, by name; of (1, H, W, 3) images.
        add: Adds to a file's biases, in place: by layer, (out,) in the units of what leaves the layer.
    """

    read: Callable[[Path], Graph]
    tap: Callable[..., Tap]
    add: Callable[[Path, Mapping[str, NDArray[np.float64]]], None]


def run(kind: Format, source: Path, quantised: Path, images: NDArray[np.uint8]) -> str:
    """Correct a file in place, where that helps.

    Args:
        kind: Of both files.
        source: The fp32 file.
        quantised: What was made of it.
        images: (N, H, W, 3) uint8 RGB, the calibration photos.

    Returns:
        What was done, for the report.
    """
    try:
        reference, artifact = kind.read(source), kind.read(quantised)
        require_match(reference, artifact)
    except StageError as error:
        return f"bias correction not tried: {error}"
    fitted, judged = _two_sets(images)
    errors = mean_errors(reference, artifact, kind.tap(quantised, artifact, threads=None), fitted)
    corrected = quantised.with_name(f"corrected-{quantised.name}")
    shutil.copyfile(quantised, corrected)
    kind.add(corrected, errors)
    wanted = _logits(source, judged)
    before, after = (sqnr_db(wanted, _logits(path, judged)) for path in (quantised, corrected))
    figures = f"logits {before:.1f} dB without, {after:.1f} dB with it, on {len(judged)} calibration photos"
    if not after > before:
        corrected.unlink()
        return f"bias correction dropped: {figures}"
    corrected.replace(quantised)
    return f"bias correction kept: {figures}"


def mean_errors(
    reference: Graph, artifact: Graph, tap: Tap, images: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    """What has to be added to each layer's channels so that they are right on average.

    Args:
        reference: Of the fp32 file.
        artifact: Of the int8 file.
        tap: Of the int8 file's engine.
        images: (N, H, W, 3) uint8 RGB.

    Returns:
        By layer with a bias: (out,), the reference's mean less the artifact's, of the same inputs.
    """
    simulation = Simulation(reference)
    layers = [place.name for place in artifact.places if place.bias is not None]
    sums = dict.fromkeys(layers, np.zeros(()))
    for index in range(len(images)):
        image = np.array(images[index : index + 1])
        found = {name: _float(value) for name, value in tap(image).items()}
        for name in layers:
            own = simulation.place(name, found, image)
            difference = (own - found[name].reshape(own.shape)).double()
            sums[name] = sums[name] + difference.mean([axis for axis in range(own.ndim) if axis != 1]).numpy()
    return {name: total / len(images) for name, total in sums.items()}


def _float(value: NDArray[Any]) -> torch.Tensor:
    # The image's bytes too, where the first layer stayed in float.
    return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))


def _two_sets(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Photos of every part of a sorted set, none in both."""
    indices = np.unique(np.linspace(0, len(images) - 1, min(2 * IMAGES, len(images))).round().astype(int))
    return images[indices[::2]], images[indices[1::2]]


def _logits(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    engine = open_engine(path, EngineOptions())
    try:
        return np.concatenate([engine.run(np.array(images[index : index + 1])) for index in range(len(images))])
    finally:
        engine.close()
