"""Do two model files say the same? Their answers to the same pictures, and where their contracts differ."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.errors import BadInputError
from edgex_runtime.evaluate import Share, Unreadable, wilson
from edgex_runtime.model import Model
from edgex_runtime.postprocess import to_probabilities
from edgex_runtime.predictions import Prediction
from edgex_runtime.schema import to_plain
from edgex_runtime.sources.source import Frame, Source
from edgex_runtime.spec import ModelSpec

COMPARED = ("input", "resize", "normalise", "labels", "output", "temperature")
"""The fields of a contract that decide what a picture becomes, and what an answer means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field that two contracts do not agree in, in dotted form (``resize.filter``), with both values."""

    field: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A picture that two models call different things, with the probability that each gives its own answer."""

    name: str
    first: str
    first_score: float
    second: str
    second_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on the same pictures.

    Attributes:
        images: How many both classified.
        agreement: Share with the same likeliest class.
        largest_score_difference: Of any class of any picture, 0..1.
        mean_score_difference: Of the likeliest class of the first model.
        first_ms: Median of the engine's time for one picture; both models take turns.
        second_ms: See `first_ms`.
        disagreements: Every picture they call different things, the surest first.
        contract: Where their contracts differ.
        unreadable: What was left out.
    """

    images: int
    agreement: Share
    largest_score_difference: float
    mean_score_difference: float
    first_ms: float
    second_ms: float
    disagreements: tuple[Disagreement, ...]
    contract: tuple[Difference, ...]
    unreadable: tuple[Unreadable, ...]


def compare(first: Model, second: Model, source: Source, progress: Callable[[int], None] | None = None) -> Comparison:
    """Show every picture of a file source to both models, in turns.

    Args:
        first: Open.
        second: Open; knows the same labels, in any order.
        source: Open, and not live: both have to see the same.
        progress: Called after each picture with how many are done.

    Raises:
        BadInputError: If the source is live or has no picture that can be read, or the labels are not the same.
    """
    if source.info.live:
        raise BadInputError(f"{source.info.name}: want files, which both models can be shown; a live source goes on")
    order = _order(first.spec, second.spec)
    pairs: list[tuple[str, Prediction, Prediction]] = []
    unreadable: list[Unreadable] = []
    while (item := source.read()) is not None:
        if isinstance(item, Frame):
            pairs.append((item.name, first.predict(item.image), second.predict(item.image)))
        else:
            unreadable.append(Unreadable(path=item.name, why=item.error))
        if progress is not None:
            progress(len(pairs) + len(unreadable))
    if not pairs:
        why = f": {unreadable[0].why}" if unreadable else ""
        raise BadInputError(f"{source.info.name}: want a picture or more that can be read, found none{why}")
    scores = np.stack([_scores(one, first.spec) for _, one, _ in pairs])
    others = np.stack([_scores(other, second.spec) for _, _, other in pairs])[:, order]
    differences = np.abs(scores - others)
    told = [_disagree(name, one, other) for name, one, other in pairs if one.label != other.label]
    return Comparison(
        images=len(pairs),
        agreement=wilson(len(pairs) - len(told), len(pairs)),
        largest_score_difference=float(differences.max()),
        mean_score_difference=float(differences[np.arange(len(pairs)), scores.argmax(1)].mean()),
        first_ms=float(np.median([one.timing.inference_ms for _, one, _ in pairs])),
        second_ms=float(np.median([other.timing.inference_ms for _, _, other in pairs])),
        disagreements=tuple(sorted(told, key=lambda one: -min(one.first_score, one.second_score))),
        contract=differing_fields(first.spec, second.spec),
        unreadable=tuple(unreadable),
    )


def differing_fields(first: ModelSpec, second: ModelSpec) -> tuple[Difference, ...]:
    """Where two contracts differ in what a picture becomes, or in what an answer means."""
    plain = [to_plain(spec) for spec in (first, second)]
    flat = [_flatten({name: fields.get(name) for name in COMPARED}) for fields in plain]
    names = dict.fromkeys([*flat[0], *flat[1]])
    return tuple(
        Difference(field=name, first=flat[0].get(name), second=flat[1].get(name))
        for name in names
        if flat[0].get(name) != flat[1].get(name)
    )


def _flatten(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _order(first: ModelSpec, second: ModelSpec) -> list[int]:
    """Where each of the first model's labels stands in the second's list."""
    if sorted(first.labels) != sorted(second.labels):
        only = sorted(set(first.labels) ^ set(second.labels))
        raise BadInputError(
            f"{first.name} and {second.name}: want the same classes, {', '.join(only[:5])}"
            f"{', …' if len(only) > 5 else ''} {'is' if len(only) == 1 else 'are'} known to one of them only"
        )
    return [second.labels.index(label) for label in first.labels]


def _scores(prediction: Prediction, spec: ModelSpec) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = to_probabilities(prediction.logits[None], spec)[0]
    return scores


def _disagree(name: str, one: Prediction, other: Prediction) -> Disagreement:
    return Disagreement(name=name, first=one.label, first_score=one.score, second=other.label, second_score=other.score)
