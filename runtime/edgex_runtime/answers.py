"""Stable answers of a stream: smoothed over time, slow to change their mind, unknown when unsure, told as events."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.postprocess import softmax, top_scores
from edgex_runtime.predictions import Prediction, Score
from edgex_runtime.sinks.sink import Event
from edgex_runtime.spec import ModelSpec

SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """How a stream's answers are made calm; the defaults leave each frame's answer as it is.

    Attributes:
        smooth_s: Time constant of an exponential average of the logits, in seconds; 0 for none. After a change of
            scene the average has come 63 % of the way in this time, whatever the frame rate.
        hysteresis: By how much another class's probability must exceed the shown one's before the label changes, 0..1.
        unknown_below: Probability below which the answer counts as unknown, 0..1; once known it stays so down to this
            less `hysteresis`.
        debounce_s: How long a new answer must stand before it becomes an event.
    """

    smooth_s: float = 0.0
    hysteresis: float = 0.0
    unknown_below: float = 0.0
    debounce_s: float = 0.5

    def __post_init__(self) -> None:
        for name in ("smooth_s", "debounce_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: want seconds, 0 or more, got {value}")
        for name in ("hysteresis", "unknown_below"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: want a probability of 0 to 1, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a stream shows after one more frame; the fields are `LiveResult`'s.

    With hysteresis `label` may be the second of `top5` for a while.
    """

    label: str
    score: float
    top5: tuple[Score, ...]
    known: bool
    events: tuple[Event, ...] = ()


class Stabiliser:
    """Turns one stream's predictions into answers. Its memory is one row of logits."""

    def __init__(self, options: AnswerOptions) -> None:
        """Begin without a past."""
        self._options = options
        self._spec: ModelSpec | None = None
        self._mean: NDArray[np.float64] | None = None
        self._mean_ns = 0
        self._shown: int | None = None
        self._known = False
        self._events = _Debounce(round(options.debounce_s * 1e9))

    def answer(self, prediction: Prediction, spec: ModelSpec, captured_ns: int) -> Answer:
        """Take the next frame's prediction.

        Args:
            prediction: Of this frame.
            spec: Of the model that made it; with another one than before, averaging begins anew.
            captured_ns: When the frame was taken, by any clock that the whole stream shares; a step back is none.
        """
        if spec is not self._spec:
            self._spec, self._mean, self._shown = spec, None, None
        if not (self._options.smooth_s or self._options.hysteresis):
            label, score, top5 = prediction.label, prediction.score, prediction.top5
        else:
            label, score, top5 = self._steady(self._average(prediction, spec, captured_ns), spec)
        self._known = score >= self._options.unknown_below - (self._options.hysteresis if self._known else 0.0)
        events = self._events.add(label if self._known else None, captured_ns)
        return Answer(label=label, score=score, top5=top5, known=self._known, events=events)

    def _average(self, prediction: Prediction, spec: ModelSpec, captured_ns: int) -> NDArray[np.float64]:
        """Probabilities of the averaged logits: (classes,) float64."""
        values = prediction.logits.astype(np.float64)
        if spec.output == "probabilities":
            # Logits but for a constant, which softmax does not see; the temperature is 1 for such a model.
            values = np.log(np.maximum(values, SMALLEST_PROBABILITY))
        if self._mean is None or not self._options.smooth_s:
            self._mean = values
        else:
            passed_s = max(captured_ns - self._mean_ns, 0) / 1e9
            self._mean += -math.expm1(-passed_s / self._options.smooth_s) * (values - self._mean)
        self._mean_ns = captured_ns
        return softmax(self._mean, spec.temperature if spec.output == "logits" else 1.0)

    def _steady(self, probabilities: NDArray[np.float64], spec: ModelSpec) -> tuple[str, float, tuple[Score, ...]]:
        best = int(np.argmax(probabilities))
        shown = self._shown
        if shown is None or probabilities[best] - probabilities[shown] > self._options.hysteresis:
            self._shown = shown = best
        return spec.labels[shown], float(probabilities[shown]), top_scores(probabilities, spec.labels)


class _Debounce:
    """Reports a change once it has stood for some time."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._told: str | None = None
        self._candidate: str | None = None
        self._since_ns = 0

    def add(self, label: str | None, now_ns: int) -> tuple[Event, ...]:
        """Take what is seen now (None for nothing known); give what has changed for good."""
        if label != self._candidate:
            self._candidate, self._since_ns = label, now_ns
        if label == self._told or now_ns - self._since_ns < self._period_ns:
            return ()
        left = () if self._told is None else (Event(kind="left", label=self._told),)
        appeared = () if label is None else (Event(kind="appeared", label=label),)
        self._told = label
        return left + appeared
