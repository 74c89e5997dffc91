"""Stable answers: what smoothing, hysteresis, the threshold and the debounce promise, to the figure."""

import math

import numpy as np
import pytest

from edgex_runtime.answers import AnswerOptions, Stabiliser
from edgex_runtime.postprocess import softmax, top_scores
from edgex_runtime.predictions import Prediction, Timing
from edgex_runtime.sinks.sink import Event
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

SPEC = ModelSpec(
    name="pets",
    labels=("cat", "dog", "fox"),
    input=InputSpec(height=8, width=8),
    resize=Resize(mode="crop"),
    temperature=2.0,
)
TIMING = Timing(preprocess_ms=0.0, inference_ms=0.0, postprocess_ms=0.0)
SECOND_NS = 1_000_000_000


def predict(*logits: float, spec: ModelSpec = SPEC) -> Prediction:
    row = np.array(logits, dtype=np.float32)
    top5 = top_scores(
        row.astype(np.float64) if spec.output == "probabilities" else softmax(row, spec.temperature), spec.labels
    )
    return Prediction(label=top5[0].label, score=top5[0].score, top5=top5, logits=row, timing=TIMING)


def test_without_options_each_answer_is_the_predictions_own() -> None:
    stabiliser = Stabiliser(AnswerOptions())
    for second, logits in enumerate([(3, 1, 0), (0, 3, 1), (0, 1, 3)]):
        prediction = predict(*logits)
        answer = stabiliser.answer(prediction, SPEC, second * SECOND_NS)
        assert (answer.label, answer.score, answer.top5) == (prediction.label, prediction.score, prediction.top5)
        assert answer.known


@pytest.mark.parametrize("fps", [5, 30, 120])
def test_smoothing_takes_the_same_time_at_every_frame_rate(fps: int) -> None:
    stabiliser = Stabiliser(AnswerOptions(smooth_s=0.5))
    stabiliser.answer(predict(4, 0, 0), SPEC, 0)
    for frame in range(1, fps + 1):
        answer = stabiliser.answer(predict(0, 4, 0), SPEC, frame * SECOND_NS // fps)
    # One second is two time constants.
    left = 4 * math.exp(-2)
    want = softmax(np.array([left, 4 - left, 0]), SPEC.temperature)
    assert [score.score for score in answer.top5] == pytest.approx(sorted(want, reverse=True), rel=1e-6)


def test_smoothing_probabilities_averages_their_logarithms() -> None:
    spec = ModelSpec(
        name="p",
        labels=("a", "b"),
        input=InputSpec(height=8, width=8),
        resize=Resize(mode="crop"),
        output="probabilities",
    )
    stabiliser = Stabiliser(AnswerOptions(smooth_s=1.0))
    stabiliser.answer(predict(0.9, 0.1, spec=spec), spec, 0)
    answer = stabiliser.answer(predict(0.9, 0.1, spec=spec), spec, SECOND_NS)
    assert answer.score == pytest.approx(0.9)
    answer = stabiliser.answer(predict(0.0, 1.0, spec=spec), spec, 2 * SECOND_NS)
    assert math.isfinite(answer.score)


def test_a_label_changes_only_when_another_leads_by_the_hysteresis() -> None:
    stabiliser = Stabiliser(AnswerOptions(hysteresis=0.2))
    labels = [
        stabiliser.answer(predict(*logits), SPEC, index).label
        for index, logits in enumerate([(2, 1.9, 0), (1.9, 2, 0), (2, 1.9, 0), (0, 3, 0), (2, 2.3, 0)])
    ]
    assert labels == ["cat", "cat", "cat", "dog", "dog"]


def test_the_score_shown_is_the_shown_labels_own() -> None:
    stabiliser = Stabiliser(AnswerOptions(hysteresis=0.5))
    stabiliser.answer(predict(2, 1, 0), SPEC, 0)
    answer = stabiliser.answer(predict(1, 2, 0), SPEC, 1)
    scores = {score.label: score.score for score in answer.top5}
    assert answer.label == "cat"
    assert answer.score == scores["cat"] < scores["dog"]


def test_below_the_threshold_it_is_unknown_and_hysteresis_holds_there_too() -> None:
    stabiliser = Stabiliser(AnswerOptions(unknown_below=0.6, hysteresis=0.1))
    # Softmax of (x, 0, 0) at temperature 2 reaches 0.6 at x = 2.2, and 0.5 at 1.4.
    known = [
        stabiliser.answer(predict(x, 0, 0), SPEC, index).known for index, x in enumerate([2.0, 2.3, 2.0, 1.3, 2.0])
    ]
    assert known == [False, True, True, False, False]


def test_an_answer_becomes_an_event_when_it_has_stood_for_the_debounce() -> None:
    stabiliser = Stabiliser(AnswerOptions(debounce_s=1.0))
    seen = []
    for tenth in range(60):
        # A cat for two seconds with one frame of dog in it, then a dog.
        logits = (0, 5, 0) if tenth == 14 or tenth >= 30 else (5, 0, 0)
        for event in stabiliser.answer(predict(*logits), SPEC, tenth * SECOND_NS // 10).events:
            seen.append((tenth, event))
    assert seen == [
        (10, Event(kind="appeared", label="cat")),
        (40, Event(kind="left", label="cat")),
        (40, Event(kind="appeared", label="dog")),
    ]


def test_what_becomes_unknown_has_left() -> None:
    stabiliser = Stabiliser(AnswerOptions(debounce_s=0.0, unknown_below=0.8))
    events = [stabiliser.answer(predict(x, 0, 0), SPEC, index).events for index, x in enumerate([9, 0, 9])]
    appeared, left = Event(kind="appeared", label="cat"), Event(kind="left", label="cat")
    assert events == [(appeared,), (left,), (appeared,)]


def test_another_model_begins_anew() -> None:
    other = ModelSpec(name="two", labels=("on", "off"), input=InputSpec(height=8, width=8), resize=Resize(mode="crop"))
    stabiliser = Stabiliser(AnswerOptions(smooth_s=10.0, hysteresis=0.3))
    stabiliser.answer(predict(5, 0, 0), SPEC, 0)
    assert stabiliser.answer(predict(0, 9, spec=other), other, 1).label == "off"


@pytest.mark.parametrize(
    "wrong",
    [
        {"smooth_s": -1.0},
        {"smooth_s": math.inf},
        {"hysteresis": 1.1},
        {"unknown_below": -0.1},
        {"debounce_s": math.nan},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AnswerOptions(**wrong)
