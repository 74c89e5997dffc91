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

from edgex_converters.evaluation import spread_over
from edgex_converters.graph import Graph, require_match
from edgex_converters.stages import verify
from edgex_converters.stages.simulate import Simulation
from edgex_runtime.errors import StageError
from edgex_runtime.evaluate import sqnr_db

# For the means, and as many others for the verdict.
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
    # Photos of every part of a set that is sorted by class, none in both.
    chosen = spread_over(len(images), 2 * IMAGES)
    fitted, judged = images[chosen[::2]], images[chosen[1::2]]
    errors = mean_errors(reference, artifact, kind.tap(quantised, artifact, threads=None), fitted)
    corrected = quantised.with_name(f"corrected-{quantised.name}")
    shutil.copyfile(quantised, corrected)
    kind.add(corrected, errors)
    wanted, without, with_it = (verify.run(path, judged, threads=None) for path in (source, quantised, corrected))
    before, after = sqnr_db(wanted, without), sqnr_db(wanted, with_it)
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
        By quantised layer with a bias: (out,), the reference's mean less the artifact's, of the same inputs.
    """
    simulation = Simulation(reference)
    layers = [place.name for place in artifact.places if place.bias is not None and place.is_quantised]
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
