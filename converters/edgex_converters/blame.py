"""Says which layers of an artifact its error comes from: measured in its engine, attributed by taking one at a time.

Three things are measured of each place of the network, against the reference and on the same images. *What leaves it*
in the real engine: SQNR, cosine and the share of clipped values. *Its own error*: the same value against what the
reference's layer makes of the artifact's own inputs, so that what earlier layers did is no fault of its. *Its share*:
the energy of the logit error when this place alone is the artifact's and every other is the reference's, of the sum of
these energies. The last is a simulation in PyTorch (`stages.simulate`), the same for all formats, with the artifact's
own weights and ranges; how far it is from the engine is measured along and stands in the result.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex_converters.evaluation import spread_over
from edgex_converters.graph import Array, Graph, Place, require_match
from edgex_converters.stage import load_entry
from edgex_converters.stages import verify
from edgex_runtime.errors import BadInputError, StageError

IMAGES = 16
# Multiplications that shares may cost: each place runs what follows it once an image. Xception at 299 gets 4 images, a
# small network all. A budget of time would give other shares on another machine.
_BUDGET = 2.2e12
_FEWEST = 4
_SAME = 1e-3
_READERS = {
    ".onnx": "edgex_converters.stages.blame_onnx",
    ".xml": "edgex_converters.stages.blame_openvino",
    ".tflite": "edgex_converters.stages.blame_tflite",
}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """What one place of the network does to the answers.

    Attributes:
        name: As in the reference network: ``block5_sepconv2_pointwise``; between layers ``block5_add``.
        kind: What it computes.
        share: Of the logit error, 0..1; all shares together are 1, or 0 where nothing differs.
        share_error: Its standard error, from how much the images differ; infinite from one image.
        sqnr_db: Of what leaves it, against the reference; infinite where nothing differs.
        own_sqnr_db: The same, had the reference's layer got the artifact's inputs.
        cosine: Of what leaves it and the reference's.
        clipped: Share of values that stand at an end of the range while the reference's lie beyond it.
        weights: Cosine of its weights and the reference's; None where it has none.
        ops: What the format's quantiser calls it, to keep it in float.
        read_by: The places that read what leaves it.
    """

    name: str
    kind: str
    share: float
    share_error: float
    sqnr_db: float
    own_sqnr_db: float
    cosine: float
    clipped: float
    weights: float | None
    ops: tuple[str, ...]
    read_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """Where an artifact's error comes from.

    Attributes:
        layers: The greatest share first.
        images: How many images the errors were measured on.
        share_images: How many the shares.
        logits_sqnr_db: Of the logits, in the engine.
        unexplained: Energy of what the engine's logits and the simulated artifact's differ by, of that of the logit
            error: 0 where the simulation is the engine.
        sum_of_parts: What the energies of one at a time add up to, of that of all at once: 1 where the layers' errors
            neither cancel nor amplify each other.
    """

    layers: tuple[LayerError, ...]
    images: int
    share_images: int
    logits_sqnr_db: float
    unexplained: float
    sum_of_parts: float

    def worst(self, count: int = 3) -> str:
        """In words, for a gate that failed.

        Returns:
            ``most of the error comes from block13_sepconv1_depthwise (41 %), …``; empty where nothing differs.
        """
        named = [f"{layer.name} ({layer.share:.0%})" for layer in self.layers[:count] if layer.share >= 0.01]
        return f"most of the error comes from {', '.join(named)}".replace("%", " %") if named else ""


def read(path: Path) -> Graph:
    """Read a model file.

    Raises:
        BadInputError: If its suffix is none that has layers to read.
        StageError: If something in it is not known.
        MissingExtraError: If the format's toolchain is not installed.
    """
    graph: Graph = load_entry(f"{_reader(path)}:read")(path)
    return graph


def read_network(network: Any) -> Graph:
    """Read the reference network: (N, H, W, 3) uint8 → logits, a PyTorch module in evaluation mode.

    Raises:
        StageError: If it cannot be traced, or something in it is not known.
    """
    graph: Graph = load_entry("edgex_converters.stages.blame_torch:read")(network)
    return graph


def blame(
    path: Path,
    reference: Graph,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
    *,
    share_images: int | None = None,
    threads: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Blame:
    """Measure every layer of an artifact.

    Args:
        path: The artifact.
        reference: What it is held against.
        images: (N, H, W, 3) uint8 RGB, resized by the contract.
        expected: (N, classes), the reference's logits, from where the reference really runs.
        share_images: On how many of the images shares are measured; None takes as many as the network's size allows.
        threads: Of the artifact's engine.
        progress: Called with (done, all) after each image.

    Raises:
        BadInputError: If the artifact's suffix is none that has layers to read.
        StageError: If the two are not the same network, or the reference was not read as what it computes.
    """
    graph = read(path)
    require_match(reference, graph)
    simulation = load_entry("edgex_converters.stages.simulate:Simulation")
    whole = simulation(reference)
    if share_images is None:
        share_images = _affordable(whole.multiplications(np.array(images[:1])), len(graph.places))
    run = _Run(
        reference=whole,
        artifact=simulation(graph),
        engine=load_entry(f"{_reader(path)}:tap")(path, graph, threads=threads),
    )
    chosen = spread_over(len(images), share_images)
    spread = float(expected.max() - expected.min())
    for index in range(len(images)):
        run.take(np.array(images[index : index + 1]), expected[index], spread, alone=index in chosen)
        progress(index + 1, len(images))
    return run.conclude(len(images), len(chosen))


def diagnose(
    path: Path,
    source: Any,
    inputs: NDArray[np.uint8],
    logits: NDArray[np.float32],
    *,
    threads: int | None,
    progress: Progress,
) -> Blame:
    """Blame the layers of an artifact that a conversion has just made, on a few of its evaluation images.

    Args:
        path: The artifact.
        source: What it was made from: the path of the fp32 file, or the network.
        inputs: (N, H, W, 3) uint8 RGB: what the gates judge by.
        logits: (N, classes), the network's.
        threads: Of the engines.
        progress: Called with (done, all) after each image.

    Raises:
        StageError: If the layers cannot be found or told apart.
    """
    chosen = spread_over(len(inputs), IMAGES)
    images = np.ascontiguousarray(inputs[chosen])
    if isinstance(source, Path):
        reference, expected = read(source), logits_of(source, images, threads=threads)
    else:
        reference, expected = read_network(source), logits[chosen]
    return blame(path, reference, images, expected, threads=threads, progress=progress)


def logits_of(path: Path, images: NDArray[np.uint8], *, threads: int | None = None) -> NDArray[np.float32]:
    """What a model file says of (N, H, W, 3) images in the engine that runs it: (N, classes)."""
    return verify.run(path, images, threads=threads)


def _reader(path: Path) -> str:
    if path.suffix not in _READERS:
        raise BadInputError(f"{path}: want a model whose layers can be read ({', '.join(_READERS)}), got {path.suffix}")
    return _READERS[path.suffix]


@dataclass(slots=True)
class _Sums:
    """What is added up of one place, image by image."""

    signal: float = 0.0
    artifact: float = 0.0
    product: float = 0.0
    noise: float = 0.0
    own_signal: float = 0.0
    own_noise: float = 0.0
    clipped: int = 0
    values: int = 0
    alone: list[float] = field(default_factory=list)

    def take(self, wanted: NDArray[Any], found: NDArray[Any], place: Place) -> None:
        wanted, found = wanted.astype(np.float64), found.astype(np.float64)
        self.signal += float(np.vdot(wanted, wanted))
        self.artifact += float(np.vdot(found, found))
        self.product += float(np.vdot(wanted, found))
        self.noise += energy(wanted - found)
        self.clipped += _clipped(wanted, found, place)
        self.values += wanted.size


@dataclass(kw_only=True, eq=False)
class _Run:
    """One measurement, image by image: what a large network computes does not fit into memory for many."""

    reference: Any
    artifact: Any
    engine: Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]]
    sums: dict[str, _Sums] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sums = {place.name: _Sums() for place in self.reference.graph.places}
        self.simulated = _Sums()  # The whole artifact, against the engine.
        self.together = 0.0  # The logit error of the whole artifact, simulated, on the images that shares are from.

    def take(self, image: NDArray[np.uint8], expected: NDArray[np.float32], spread: float, *, alone: bool) -> None:
        """Measure on one image."""
        values = self.reference.run(image)
        output = self.reference.graph.output
        _require_same(values[output].numpy()[0], expected, spread)
        found = {name: value.reshape(tuple(values[name].shape)) for name, value in self.engine(image).items()}
        self._measure_places(image, values, found)
        simulated = self.artifact.run(image)[output].numpy()
        self.simulated.noise += energy(found[output] - simulated)
        if alone:
            self.together += energy(simulated - values[output].numpy())
            self._measure_alone(image, values)

    def _measure_places(self, image: NDArray[np.uint8], values: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        tensors = {name: values[name].new_tensor(value) for name, value in found.items()}
        for name, sums in self.sums.items():
            sums.take(values[name].numpy(), found[name], self.artifact.graph[name])
            own = self.reference.place(name, tensors, image).numpy()
            sums.own_signal += energy(own)
            sums.own_noise += energy(own - found[name])

    def _measure_alone(self, image: NDArray[np.uint8], values: Mapping[str, Any]) -> None:
        output = self.reference.graph.output
        for name, sums in self.sums.items():
            swapped = self.reference.with_one(name, self.artifact.place(name, values, image), values)
            sums.alone.append(energy((swapped - values[output]).numpy()))

    def conclude(self, images: int, share_images: int) -> Blame:
        """Turn the sums into figures."""
        totals = np.sum([sums.alone for sums in self.sums.values()], axis=0)
        output = self.sums[self.reference.graph.output]
        layers = [self._layer(name, sums, totals) for name, sums in self.sums.items()]
        return Blame(
            layers=tuple(sorted(layers, key=lambda layer: (-layer.share, layer.sqnr_db))),
            images=images,
            share_images=share_images,
            logits_sqnr_db=sqnr_db(output.signal, output.noise),
            unexplained=_of(self.simulated.noise, output.noise),
            sum_of_parts=_of(float(totals.sum()), self.together),
        )

    def _layer(self, name: str, sums: _Sums, totals: NDArray[np.float64]) -> LayerError:
        reference, place = self.reference.graph[name], self.artifact.graph[name]
        share, share_error = ratio(np.array(sums.alone), totals)
        scale = math.sqrt(sums.signal * sums.artifact)
        return LayerError(
            name=name,
            kind=place.kind,
            share=share,
            share_error=share_error,
            sqnr_db=sqnr_db(sums.signal, sums.noise),
            own_sqnr_db=sqnr_db(sums.own_signal, sums.own_noise),
            cosine=sums.product / scale if scale else float(sums.signal == sums.artifact),
            clipped=_of(sums.clipped, sums.values),
            weights=cosine(reference.weight, place.weight),
            ops=place.ops,
            read_by=tuple(other.name for other in self.reference.graph.places if name in other.inputs),
        )


def energy(values: NDArray[Any]) -> float:
    """Sum of squares, in double precision."""
    flat = values.astype(np.float64).ravel()
    return float(np.dot(flat, flat))


def ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> tuple[float, float]:
    """Sum of parts over sum of wholes, each an image, and its standard error (Cochran 1977, Sampling Techniques, 6.4).

    >>> share, error = ratio(np.array([1.0, 3.0]), np.array([4.0, 4.0]))
    >>> f"{share:.2f} {error:.2f}"
    '0.50 0.25'
    """
    count, whole = len(parts), float(wholes.sum())
    if whole == 0.0:
        return 0.0, 0.0
    share = float(parts.sum()) / whole
    if count < 2:
        return share, math.inf
    return share, math.sqrt(count / (count - 1) * float(np.square(parts - share * wholes).sum())) / whole


def _affordable(multiplications: int, places: int) -> int:
    """How many images shares can be measured on: on average half of the network follows a place."""
    return max(_FEWEST, int(_BUDGET / max(1, multiplications * places / 2)))


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to quantisation noise from their energies: 10 · log₁₀(signal / noise)."""
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def cosine(wanted: Array | None, found: Array | None) -> float | None:
    """Of two weights; None where there are none."""
    if wanted is None or found is None:
        return None
    scale = math.sqrt(energy(wanted) * energy(found))
    return float(np.dot(wanted.astype(np.float64).ravel(), found.astype(np.float64).ravel())) / scale if scale else 0.0


def _clipped(wanted: NDArray[np.float64], found: NDArray[np.float64], place: Place) -> int:
    limits = place.output_range
    if limits is None:
        return 0
    margin = limits.step / 2  # Nearer than this to an end a value rounds to it.
    above = (found >= limits.high - margin) & (wanted > limits.high + margin)
    below = (found <= limits.low + margin) & (wanted < limits.low - margin)
    return int(above.sum() + below.sum())


def _of(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else 0.0


def _require_same(simulated: NDArray[np.float32], expected: NDArray[np.float32], spread: float) -> None:
    """What is attributed must be what was measured: the reference as read gives the reference's logits."""
    difference = float(np.abs(simulated - expected).max())
    if not difference <= _SAME * spread:
        raise StageError(
            f"blame: want the reference's logits within {_SAME:g} of their range when it is computed layer by layer, "
            f"got {difference / spread if spread else difference:.2g}: its layers are not what they were read as"
        )
