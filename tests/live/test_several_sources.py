"""Several sources, one engine: each gets its turn and tells its own state, and one that is lost takes none with it."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from edgex_runtime.answers import AnswerOptions
from edgex_runtime.control import Classifier, Control, ModelChoice
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.freshness import State
from edgex_runtime.live import Hooks, Input, LiveOptions, LiveResult, open_inputs, run_live
from edgex_runtime.motion import MotionOptions
from edgex_runtime.sinks.fake import FakeSink
from edgex_runtime.sources.fake import FakeSource
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, SourceInfo

MakeFrame = Callable[..., Frame]
WHITE = np.full((4, 4, 3), 200, np.uint8)


def film(make: MakeFrame, name: str, count: int) -> FakeSource:
    return FakeSource([make(index) for index in range(count)], SourceInfo(name=name, live=False, fps=30.0))


def test_two_films_take_turns_and_each_keeps_its_order(make_model: Callable[..., Classifier], frame: MakeFrame) -> None:
    sink = FakeSink()
    # Slower than the readers, so that both films always have a frame ready.
    model = make_model(before=lambda: time.sleep(0.005))
    summary = run_live(model, [Input(source=film(frame, "a", 30)), Input(source=film(frame, "b", 30))], [sink])
    for name in ("a", "b"):
        shown = [result.index for result in sink.results if result.source == name and result.index is not None]
        assert shown == list(range(30))
    ended = [result for result in sink.results if result.state is State.ENDED]
    assert [result.index for result in ended] == [None], "of the one that ended first; the other's end is the run's"
    # Whoever was served longest ago comes first, so that at no moment one is far ahead.
    ahead = list(itertools.accumulate(1 if result.source == "a" else -1 for result in sink.results))
    assert max(map(abs, ahead)) <= 4
    assert (summary.classified, summary.state) == (60, State.ENDED)


def test_a_fast_camera_does_not_starve_a_slow_one(make_model: Callable[..., Classifier], frame: MakeFrame) -> None:
    over = threading.Event()

    def play(period_s: float, count: int) -> Iterator[Frame]:
        for index in range(count):
            if over.wait(period_s):
                return
            yield frame(index)

    def slow() -> Iterator[Frame]:
        yield from play(0.1, 10)
        over.set()

    cameras = {"fast": play(0.001, 10**6), "slow": slow()}
    inputs = [
        Input(source=FakeSource(frames, SourceInfo(name=name, live=True, fps=30.0))) for name, frames in cameras.items()
    ]
    sink = FakeSink()
    run_live(make_model(before=lambda: time.sleep(0.01)), inputs, [sink])
    # A camera that waits for a fast one to have nothing would show none of its frames, or the last.
    assert sum(result.source == "slow" and result.index is not None for result in sink.results) >= 6


def test_two_sources_of_one_name_are_told_apart(model: Classifier) -> None:
    inputs = open_inputs(["test://shapes?size=64x48&frames=2"] * 3)
    assert [given.info.name for given in inputs] == ["test://shapes", "test://shapes (2)", "test://shapes (3)"]
    sink = FakeSink()
    run_live(model, inputs, [sink])
    assert {result.source for result in sink.results} == {given.info.name for given in inputs}


def test_one_source_lost_is_told_and_the_other_goes_on(model: Classifier, frame: MakeFrame) -> None:
    lost = FakeSource([frame(0), SourceLostError("porch: unplugged")], SourceInfo(name="porch", live=True, fps=30.0))
    sink = FakeSink()
    with pytest.raises(SourceLostError, match="porch: unplugged"):
        run_live(model, [Input(source=lost), Input(source=film(frame, "film", 50))], [sink])
    told = [result for result in sink.results if result.state is State.LOST]
    assert [(result.source, result.error) for result in told] == [("porch", "porch: unplugged")]
    assert sum(result.source == "film" for result in sink.results) == 50


def test_dropped_frames_add_up_over_the_sources(model: Classifier) -> None:
    sink = FakeSink()
    summary = run_live(model, open_inputs(["test://shapes?size=64x48&fps=500&frames=100"] * 2), [sink])
    last = {result.source: result.dropped for result in sink.results}
    assert len(last) == 2
    assert summary.dropped == sum(last.values())


def test_a_paused_run_classifies_nothing_and_goes_on_with_a_new_frame(model: Classifier) -> None:
    control = Control()
    results: list[LiveResult] = []

    def note(result: LiveResult) -> None:
        results.append(result)
        if len(results) == 5:
            control.pause()

    class Resume:
        """Turns the run on again half a second after the pause."""

        def write(self, frame: Frame | None, result: LiveResult) -> None:
            if len(results) == 4:
                threading.Timer(0.5, control.resume).start()

        def close(self) -> None:
            pass

    source = open_source("test://shapes?size=64x48&fps=50&frames=100")
    run_live(model, source, [Resume()], hooks=Hooks(control=control, on_result=note))
    indexes = [result.index for result in results if result.index is not None]
    gap = indexes[5] - indexes[4]
    assert gap > 15
    after = results[5]
    assert after.age_ms is not None
    # A frame from before the pause would be half a second old.
    assert after.age_ms < 400


def test_a_model_that_was_chosen_classifies_the_next_frames_and_says_its_name(
    model: Classifier, make_model: Callable[..., Classifier], frame: MakeFrame
) -> None:
    other = make_model(spec=replace(model.spec, labels=("night", "day")))
    choice = ModelChoice({"first.onnx": model, "second.onnx": other})
    results: list[LiveResult] = []

    def note(result: LiveResult) -> None:
        results.append(result)
        if len(results) == 10:
            choice.select("second.onnx")

    run_live(choice, film(frame, "film", 40), hooks=Hooks(on_result=note))
    assert [result.model for result in results[:10]] == ["first.onnx"] * 10
    assert results[-1].model == "second.onnx"
    assert results[-1].label == "night"
    for result in results:
        assert result.label == ("dark" if result.model == "first.onnx" else "night")


def test_a_model_that_is_not_loaded_cannot_be_chosen(model: Classifier) -> None:
    with pytest.raises(BadInputError, match=r"'third': no such model is loaded; loaded are first"):
        ModelChoice({"first": model}).select("third")


def test_pictures_prepared_for_different_models_are_classified_by_their_own(
    make_model: Callable[..., Classifier],
) -> None:
    choice = ModelChoice({"a": make_model(), "b": make_model()})
    one = choice.prepare(WHITE)
    choice.select("b")
    assert len(choice.classify([one, choice.prepare(WHITE), choice.prepare(WHITE)])) == 3
    assert [model.calls for model in choice.models.values()] == [1, 2]  # type: ignore[attr-defined]


def test_pictures_for_one_model_go_through_it_at_once(make_model: Callable[..., Classifier]) -> None:
    choice = ModelChoice({"a": make_model()})
    choice.classify([choice.prepare(WHITE) for _ in range(3)])
    assert choice.models["a"].calls == 1  # type: ignore[attr-defined]


def test_a_still_scene_keeps_its_answer_and_its_frames_stay_young(model: Classifier, frame: MakeFrame) -> None:
    # The picture changes at every 25th frame only.
    frames = [replace(frame(index // 25 * 40), index=index, position_ms=index * 40.0) for index in range(100)]
    source = FakeSource(frames, SourceInfo(name="film", live=False, fps=25.0))
    results: list[LiveResult] = []
    run_live(model, source, options=LiveOptions(motion=MotionOptions()), hooks=Hooks(on_result=results.append))
    assert [result.index for result in results if not result.reused] == [0, 25, 50, 75]
    assert model.calls == 4  # type: ignore[attr-defined]
    assert {result.label for result in results} == {"dark"}
    assert all(result.times is not None and result.times.inference_ms == 0 for result in results if result.reused)


def test_single_pictures_are_not_smoothed_into_one_another(model: Classifier, frame: MakeFrame) -> None:
    source = FakeSource([frame(0)], SourceInfo(name="photos", live=False))
    options = LiveOptions(answers=AnswerOptions(smooth_s=1.0))
    with pytest.raises(BadInputError, match=r"photos: single pictures.*leave out smoothing \(--smooth\), or"):
        run_live(model, source, options=options)
    assert source.closed
