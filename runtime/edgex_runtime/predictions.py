"""What a person gets for a picture: a label, a score, and how long it took."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One class and its probability, 0..1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds that each step took for this image; in a batch, its share of the batch."""

    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        """All three."""
        return self.preprocess_ms + self.inference_ms + self.postprocess_ms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """One picture, resized to a model's input and waiting for its engine.

    Attributes:
        tensor: (1, …) as the model's contract says, C-contiguous.
        preprocess_ms: What the resizing took.
        owner: Among several models, the name of the one it was resized for.
    """

    tensor: NDArray[np.generic]
    preprocess_ms: float
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The answer for one image.

    Attributes:
        label: The likeliest class.
        score: Its probability, 0..1.
        top5: The five likeliest (fewer where there are fewer classes), best first.
        logits: (classes,) float32.
        timing: What it cost.
    """

    label: str
    score: float
    top5: tuple[Score, ...]
    logits: NDArray[np.float32]
    timing: Timing
