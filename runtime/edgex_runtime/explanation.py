"""Where in a picture a model sees a class: an engine's coarse map, laid over the whole picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.control import Classifier
from edgex_runtime.engines.explainer import Explainer
from edgex_runtime.errors import BadInputError
from edgex_runtime.postprocess import to_probabilities
from edgex_runtime.preprocess import seen
from edgex_runtime.sources.options import nearest
from edgex_runtime.spec import ModelSpec

STRENGTH = 0.65
"""How much of the picture the hottest place hides: its outlines must stay."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """What speaks for one class.

    Attributes:
        label: The class.
        score: Its probability, 0..1.
        heat: (H, W) float32, 0..1, of the picture's size; 0 where the model does not look.
    """

    label: str
    score: float
    heat: NDArray[np.float32]


def find_explainer(model: Classifier) -> Explainer | None:
    """The model's engine, where it can explain itself."""
    engine = getattr(model, "engine", None)
    return engine if isinstance(engine, Explainer) else None


def explain(model: Classifier, image: NDArray[np.uint8], label: str | None = None) -> Explanation:
    """Classify one picture and say where the class is seen.

    Args:
        model: A checkpoint (.safetensors), which the torch engine runs.
        image: (H, W, 3) uint8 RGB.
        label: The class to explain; by default the likeliest.

    Raises:
        BadInputError: If the model's engine cannot look back, or there is no such class.
    """
    prepared = model.prepare(image)
    prediction = model.classify([prepared])[0]
    label = prediction.label if label is None else label
    heat = heat_of(model, image, label)
    probabilities = to_probabilities(prediction.logits[None], model.spec)[0]
    return Explanation(label=label, score=float(probabilities[model.spec.labels.index(label)]), heat=heat)


def heat_of(model: Classifier, image: NDArray[np.uint8], label: str) -> NDArray[np.float32]:
    """As `explain`, without classifying: (H, W) float32, 0..1."""
    spec, engine = model.spec, find_explainer(model)
    if engine is None:
        raise BadInputError(
            f"{spec.name}: {model.info.name} cannot say where it looks, which needs gradients: "
            "give the checkpoint (.safetensors) that this model was made from"
        )
    if label not in spec.labels:
        raise BadInputError(f"{label!r}: {spec.name} has no such class; {nearest(label, dict.fromkeys(spec.labels))}")
    coarse = engine.explain(model.prepare(image).tensor, spec.labels.index(label))
    return lay_over(coarse, image.shape[0], image.shape[1], spec)


def lay_over(coarse: NDArray[np.float32], height: int, width: int, spec: ModelSpec) -> NDArray[np.float32]:
    """Undo what the contract's resize did to a picture of `height` × `width`: (h, w) 0..1 → (height, width) 0..1."""
    part = seen(height, width, spec.input, spec.resize)
    on_input = cv2.resize(coarse, (spec.input.width, spec.input.height), interpolation=cv2.INTER_CUBIC)
    whole = np.zeros((height, width), np.float32)
    target = whole[part.picture]
    target[:] = cv2.resize(on_input[part.tensor], target.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(whole, 0, 1, out=whole)


def draw_heat(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay colours over a copy of the picture, the more opaque the hotter.

    Args:
        image: (H, W, 3) uint8 RGB.
        heat: (H, W) float32, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    levels = np.round(heat * 255).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB).astype(np.float32)
    share = (STRENGTH * np.minimum(1.5 * heat, 1))[..., None]
    drawn: NDArray[np.uint8] = np.round(image * (1 - share) + colors * share).astype(np.uint8)
    return drawn
