"""The contract: what a model file says of itself, the same JSON text in every format.

Whoever loads an artifact reads its `ModelSpec`, prepares images by it, and holds the file to its golden samples.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgex_runtime.errors import SpecError
from edgex_runtime.schema import from_plain, to_plain

SCHEMA_VERSION = 1

Precision = Literal["fp32", "fp16", "int8"]
ResizeMode = Literal["crop", "stretch", "letterbox"]
ResizeFilter = Literal["area-linear", "halving-linear"]
Setting = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """The tensor that the graph takes. Every artifact of ours takes uint8 NHWC RGB; only foreign models differ.

    Attributes:
        height: Rows.
        width: Columns.
        dtype: ``uint8`` takes bytes, with any scaling inside the graph; ``float32`` takes `Normalise`'s values.
        layout: Order of the axes.
        color: Order of the channels.
    """

    height: int
    width: int
    dtype: Literal["uint8", "float32"] = "uint8"
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    color: Literal["RGB", "BGR"] = "RGB"

    def __post_init__(self) -> None:
        if not (0 < self.height <= 16384 and 0 < self.width <= 16384):
            raise ValueError(f"input: want a height and width of 1 to 16384 pixels, got {self.height}x{self.width}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """One image's shape in the graph's layout."""
        return (self.height, self.width, 3) if self.layout == "NHWC" else (3, self.height, self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """How a picture of any size becomes `InputSpec.height` × `InputSpec.width`; see `preprocess.resize`.

    Attributes:
        mode: ``crop`` takes the centre at the input's aspect ratio · ``stretch`` ignores the aspect ratio ·
            ``letterbox`` fits the whole picture inside and pads it.
        crop_fraction: With ``crop``, the share of the largest such centre that is kept, (0, 1].
        fill: With ``letterbox``, the grey level of the padding, 0..255.
        filter: ``halving-linear``: averages of 2 × 2 or two pixels, repeated, then exact bilinear interpolation ·
            ``area-linear``: one average by an integer factor instead; contracts from before the other have it.
    """

    mode: ResizeMode
    crop_fraction: float = 1.0
    fill: int = 114
    filter: ResizeFilter = "halving-linear"

    def __post_init__(self) -> None:
        if not 0.0 < self.crop_fraction <= 1.0:
            raise ValueError(f"resize: want a crop_fraction in (0, 1], got {self.crop_fraction}")
        if not 0 <= self.fill <= 255:
            raise ValueError(f"resize: want a fill of 0..255, got {self.fill}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalise:
    """(pixel − mean) / std per channel, in the graph's channel order, pixels 0..255.

    Inside the graph for every artifact of ours, and recorded here so that a person can read it.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if any(value <= 0 for value in self.std):
            raise ValueError(f"normalise: want every std above 0, got {self.std}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRef:
    """Which code builds the network (an entry point of `edgex.networks`), and with which settings."""

    family: str
    config: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRef:
    """A set of images that made or measured the model; `fingerprint` is that of `dataset.fingerprint`."""

    role: Literal["train", "val", "calibration", "evaluation"]
    path: str
    count: int
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the model comes from.

    Attributes:
        source_sha256: Of the checkpoint it was made from; empty for a checkpoint itself.
        tools: Package name to version.
        datasets: The images that made it.
        command: What was typed.
        date: ISO 8601, UTC.
    """

    source_sha256: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)
    datasets: tuple[DatasetRef, ...] = ()
    command: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured at one stage, on which images, and what its gate said.

    Attributes:
        stage: ``export_onnx``, ``quantize_tflite``, …
        metrics: Name to value: shares are 0..1, `sqnr_db` is in dB, `*_ms` in milliseconds.
        images: How many images.
        fingerprint: Of those images.
        gate: The rule, in words.
        passed: Whether it held.
        why: What fell short, in words; empty where it passed.
    """

    stage: str
    metrics: Mapping[str, float]
    images: int
    fingerprint: str
    gate: str
    passed: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSample:
    """A golden image's name, the sha256 of the tensor it becomes, and this very artifact's logits for it."""

    image: str
    input_sha256: str
    logits: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """What the self-test holds an artifact to at load.

    Attributes:
        samples: One for each golden image that ships with the runtime.
        tolerance: Largest absolute difference of a logit that other CPUs may cause.
        labels_sha256: Digest of the label list that the logits belong to.
    """

    samples: tuple[GoldenSample, ...]
    tolerance: float
    labels_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The contract of one model file.

    Attributes:
        name: What a person calls it.
        labels: Class names, ordered as the output is, unique.
        input: The tensor that the graph takes.
        resize: How a picture becomes that tensor.
        normalise: What the graph (or, for a foreign float model, the runtime) does to its pixels.
        network: The code and settings that build it; None for a foreign model.
        precision: Of the weights and activations.
        output: ``logits``, or ``probabilities`` for a foreign model that ends in a softmax.
        temperature: Logits are divided by this before the softmax (Guo et al. 2017, arXiv:1706.04599).
        float_ops: Ops that a quantised artifact keeps in float.
        provenance: Where it comes from.
        evidence: What was measured of it.
        golden: What the self-test holds it to; None for a foreign model.
        schema: Version of this schema.
    """

    name: str
    labels: tuple[str, ...]
    input: InputSpec
    resize: Resize
    normalise: Normalise | None = None
    network: NetworkRef | None = None
    precision: Precision = "fp32"
    output: Literal["logits", "probabilities"] = "logits"
    temperature: float = 1.0
    float_ops: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    evidence: tuple[Evidence, ...] = ()
    golden: Golden | None = None
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema != SCHEMA_VERSION:
            raise ValueError(
                f"this edgex reads contracts of schema {SCHEMA_VERSION}, the file's is {self.schema}: "
                "convert it again, or install the edgex that made it"
            )
        if len(self.labels) < 2:
            raise ValueError(f"labels: want two or more, got {len(self.labels)}")
        doubles = {label for label in self.labels if self.labels.count(label) > 1} if self._has_doubles() else set()
        if doubles:
            raise ValueError(f"labels: want each once, {', '.join(sorted(doubles))} stand more than once")
        if not self.temperature > 0:
            raise ValueError(f"temperature: want more than 0, got {self.temperature}")
        if self.input.dtype == "float32" and self.normalise is None:
            raise ValueError("normalise is missing: a float32 input needs the mean and std that it was trained with")

    def _has_doubles(self) -> bool:
        return len(set(self.labels)) != len(self.labels)

    def to_json(self) -> str:
        """Serialise; the same spec always gives the same text."""
        return json.dumps(to_plain(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str = "contract") -> "ModelSpec":
        """Parse a contract.

        Raises:
            SpecError: If the text is not JSON, or not a contract of this schema version.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{where}: want JSON, got {text[:60]!r}: {error}") from error
        return from_plain(cls, data, where=where)


def labels_sha256(labels: tuple[str, ...]) -> str:
    """Digest of an ordered label list; differs when two labels are swapped.

    >>> labels_sha256(("cat", "dog")) == labels_sha256(("dog", "cat"))
    False
    """
    return hashlib.sha256("\0".join(labels).encode()).hexdigest()
