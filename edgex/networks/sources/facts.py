"""What is known of a network beside its weights: what the user said, and what its file or its library says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgex_runtime.spec import Normalise, ResizeMode

# A size in pixels: (height, width).
Size = tuple[int, int]
Three = tuple[float, float, float]
Color = Literal["RGB", "BGR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a source without a contract does not say, and the user has to; what they say wins over the library's own.

    Attributes:
        labels: A text file with one label a line, in the order of the logits.
        resize: How photos become the network's input.
        crop_fraction: With the resize ``crop``; None takes the library's, or all of it.
        input_size: Height and width.
        mean: Of each channel, RGB, in pixels 0..255.
        std: As `mean`.
        color: Of the images that the network takes, where nothing but the user can say it: of an ONNX file.
        weights: ``none`` draws them at random, ``default`` takes those that the library publishes, else a file; None
            is the source's own way, which for a library is ``default``.
    """

    labels: Path | None = None
    resize: ResizeMode | None = None
    crop_fraction: float | None = None
    input_size: Size | None = None
    mean: Three | None = None
    std: Three | None = None
    color: Color | None = None
    weights: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """What a network's file or library says of it; None is what it does not say.

    Attributes:
        title: The stem of the files that are made of it.
        sha256: Of the weights.
        labels: In the order of the logits.
        input_size: What the network was trained at.
        resize: How photos became its input.
        crop_fraction: With ``crop``.
        normalise: RGB, pixels 0..255.
    """

    title: str
    sha256: str
    labels: tuple[str, ...] | None = None
    input_size: Size | None = None
    resize: ResizeMode | None = None
    crop_fraction: float | None = None
    normalise: Normalise | None = None
