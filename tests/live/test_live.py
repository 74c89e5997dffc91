"""The frame loop: no result lags, each says how old it is, and however a run ends, everything is closed."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgex_runtime.clock import FakeClock, SystemClock
from edgex_runtime.control import Control
from edgex_runtime.engines.engine import EngineInfo
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.freshness import State
from edgex_runtime.live import Classifier, Hooks, Input, LiveOptions, LiveResult, LiveSummary, run_live
from edgex_runtime.predictions import Prediction, Prepared
from edgex_runtime.sinks.fake import FakeSink
from edgex_runtime.sources.fake import FakeSource
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source, SourceInfo, Unreadable
from edgex_runtime.spec import ModelSpec
from edgex_runtime.stream import Stream
from edgex_runtime.summary import Percentiles

LIVE = SourceInfo(name="camera", live=True, fps=30.0)
FILE = SourceInfo(name="film", live=False, fps=30.0)
MakeFrame = Callable[..., Frame]
TIMEOUT_S = 20.0


@dataclass
class SlowModel:
    """A model that `passes` lets go on after each call of the engine."""

    model: Classifier
    passes: Callable[[], None]

    @property
    def spec(self) -> ModelSpec:
        return self.model.spec

    @property
    def info(self) -> EngineInfo:
        return self.model.info

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        return self.model.prepare(image)

    def classify(self, prepared: Sequence[Prepared]) -> list[Prediction]:
        predictions = self.model.classify(prepared)
        self.passes()
        return predictions


class Camera:
    """A live source whose frames appear when a test says so, `period_s` of the fake clock apart."""

    def __init__(self, make: MakeFrame, clock: FakeClock, *, period_s: float) -> None:
        self._make = make
        self._clock = clock
        self._period_s = period_s
        self._permits = threading.Semaphore(0)
        self._delivered = threading.Semaphore(0)
        self._ended = False

    def frames(self) -> Iterator[Frame]:
        for index in itertools.count():
            self._delivered.release()
            assert self._permits.acquire(timeout=TIMEOUT_S)
            if self._ended:
                return
            self._clock.sleep(self._period_s)
            yield self._make(index, captured_ns=self._clock.now_ns())

    def shoot(self, count: int) -> None:
        for _ in range(count):
            assert self._delivered.acquire(timeout=TIMEOUT_S)
            self._permits.release()
        # That it asks for another means that the last one has arrived.
        assert self._delivered.acquire(timeout=TIMEOUT_S)
        self._delivered.release()

    def end(self) -> None:
        """End the source."""
        self._ended = True
        self._permits.release()


def test_a_model_five_times_too_slow_gets_the_newest_frame_each_time_and_age_does_not_grow(
    model: Classifier, frame: MakeFrame
) -> None:
    clock = FakeClock()
    camera = Camera(frame, clock, period_s=0.033)
    first = threading.Timer(0, camera.shoot, [1])
    first.start()
    slow = SlowModel(model, lambda: camera.shoot(5))
    results: list[LiveResult] = []
    control = Control()

    def note(result: LiveResult) -> None:
        results.append(result)
        if len(results) == 40:
            camera.end()
            control.stop()

    hooks = Hooks(clock=clock, on_result=note, control=control)
    summary = run_live(slow, FakeSource(camera.frames(), LIVE), options=LiveOptions(), hooks=hooks)
    first.join()
    assert [result.index for result in results] == list(range(0, 200, 5))
    # An inference is five periods long here; a frame that had waited in a queue would be older.
    assert [result.age_ms for result in results] == pytest.approx([5 * 33.0] * 40)
    assert [result.dropped for result in results[1:]] == [4 * n for n in range(2, 41)]
    assert summary.age_max_ms == pytest.approx(5 * 33.0)


@dataclass
class Resizes(SlowModel):
    """Notes which thread resized each picture."""

    threads: list[str] = field(default_factory=list)

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        self.threads.append(threading.current_thread().name)
        return super().prepare(image)


def test_a_cameras_thread_resizes_the_frame_that_is_taken_next_and_no_other(
    model: Classifier, frame: MakeFrame
) -> None:
    clock = FakeClock()
    camera = Camera(frame, clock, period_s=0.033)
    threading.Timer(0, camera.shoot, [1]).start()

    def passes() -> None:
        # The fifth frame comes less than a period before the engine is done: it is the newest one then.
        camera.shoot(5)
        clock.sleep(0.01)

    slow = Resizes(model, passes)
    control = Control()
    results: list[LiveResult] = []

    def note(result: LiveResult) -> None:
        results.append(result)
        if len(results) == 20:
            camera.end()
            control.stop()

    run_live(slow, FakeSource(camera.frames(), LIVE), hooks=Hooks(clock=clock, on_result=note, control=control))
    assert [result.index for result in results] == [0, *range(5, 100, 5)]
    # How long the engine takes is known after its first call; during the last one a frame is resized that nobody takes.
    assert slow.threads[2:] == ["edgex-capture"] * 19
    # From the camera to the loop, the resizing left out, which is told for itself.
    assert all(result.times.capture_ms == pytest.approx(10 - 0.1) for result in results[3:] if result.times)


def test_of_several_cameras_none_is_resized_ahead(model: Classifier, frame: MakeFrame) -> None:
    inputs = [Input(source=FakeSource((frame(index) for index in range(5)), replace(LIVE, name=name))) for name in "ab"]
    noted = Resizes(model, lambda: None)
    run_live(noted, inputs)
    assert noted.threads
    assert "edgex-capture" not in noted.threads


def test_on_the_real_clock_a_slow_models_results_stay_young(model: Classifier) -> None:
    slow = SlowModel(model, lambda: SystemClock().sleep(0.04))
    source = open_source("test://shapes?size=64x48&fps=200")
    summary = run_live(slow, source, options=LiveOptions(max_frames=20))
    assert summary.dropped > 20
    # The inference, a frame period, and what a busy machine adds; a queue would have reached 20 × 35 ms.
    assert summary.age_median_ms is not None
    assert 40 <= summary.age_median_ms < 150


def test_every_frame_of_a_file_is_classified_however_slow_the_model(
    model: Classifier, bar_video: Callable[..., Path]
) -> None:
    results = list(Stream(model, str(bar_video(frames=40)), LiveOptions()))
    assert [result.index for result in results] == list(range(40))
    assert [result.dropped for result in results] == [0] * 40
    assert {result.state for result in results} == {State.LIVE}
    assert [result.position_ms for result in results] == pytest.approx([80 * index for index in range(40)], abs=1.5)


def test_a_result_carries_the_models_answer_and_where_the_time_went(model: Classifier, frame: MakeFrame) -> None:
    clock = FakeClock(now_ns=1_000_000_000)
    slow = SlowModel(model, lambda: clock.sleep(0.030))
    sink = FakeSink()
    results: list[LiveResult] = []
    source = FakeSource([replace(frame(4, captured_ns=990_000_000), position_ms=160.0)], FILE)
    run_live(slow, source, [sink], hooks=Hooks(clock=clock, on_result=results.append))
    (result,) = results
    assert (result.label, result.index, result.name, result.position_ms) == ("dark", 4, "fake#4", 160.0)
    assert result.top5[0].score == result.score
    assert result.age_ms == pytest.approx(40.0)
    assert result.times is not None
    # A file's frame is resized by its reader, and that 0.1 ms is not counted twice.
    assert result.times.capture_ms == pytest.approx(9.9)
    assert (result.times.preprocess_ms, result.times.inference_ms, result.times.postprocess_ms) == (0.1, 0.2, 0.3)
    assert sink.results == results


def test_an_unreadable_picture_is_a_failed_result_and_the_run_goes_on(model: Classifier, frame: MakeFrame) -> None:
    bad = Unreadable(index=1, captured_ns=0, name="x.jpg", error="x.jpg: want an image")
    sink = FakeSink()
    summary = run_live(model, FakeSource([frame(0), bad, frame(2)], FILE), [sink])
    assert [(result.index, result.error) for result in sink.results] == [
        (0, None),
        (1, "x.jpg: want an image"),
        (2, None),
    ]
    assert (summary.frames, summary.classified, summary.failed) == (3, 2, 1)
    assert summary.state is State.ENDED


def test_a_camera_that_freezes_is_told_stale_and_its_frozen_frame_is_not_classified_again(model: Classifier) -> None:
    source = open_source("test://shapes?size=64x48&fps=20&freeze=1200ms&frames=68")
    results: list[LiveResult] = []
    summary = run_live(model, source, hooks=Hooks(on_result=results.append))
    frozen = [result for result in results if result.index is not None and 40 <= result.index < 64]
    assert frozen == []
    stale = [result for result in results if result.state is State.STALE]
    assert len(stale) >= 2
    assert all(result.label is None for result in stale)
    ages = [result.age_ms for result in stale if result.age_ms is not None]
    assert ages == sorted(ages)
    assert ages[0] > 450
    assert results[-1].state is State.LIVE
    assert results[-1].index is not None
    assert results[-1].index >= 64
    assert summary.frames < 50


def test_a_frame_whose_camera_hung_during_the_inference_is_not_shown_as_live(
    model: Classifier, frame: MakeFrame
) -> None:
    clock = FakeClock()
    slow = SlowModel(model, lambda: clock.sleep(0.6))
    results: list[LiveResult] = []
    run_live(slow, FakeSource([frame(0)], LIVE), hooks=Hooks(clock=clock, on_result=results.append))
    assert [(result.label, result.state) for result in results] == [("dark", State.STALE)]


def test_a_lost_source_is_told_to_the_sinks_and_raised(model: Classifier, frame: MakeFrame) -> None:
    sink = FakeSink()
    ended: list[LiveSummary] = []
    source = FakeSource([frame(0), SourceLostError("camera: unplugged")], LIVE)
    with pytest.raises(SourceLostError, match="unplugged"):
        run_live(model, source, [sink], hooks=Hooks(on_end=ended.append))
    assert sink.results[-1].state is State.LOST
    assert sink.results[-1].error == "camera: unplugged"
    assert sink.closed
    assert [summary.state for summary in ended] == [State.LOST]
    assert [summary.classified for summary in ended] == [1]


def test_a_camera_that_is_being_opened_again_is_told_so_until_it_is_lost(model: Classifier, frame: MakeFrame) -> None:
    def reopen() -> Source:
        raise SourceLostError("no such camera")

    sink = FakeSink()
    source = FakeSource([frame(0), SourceLostError("camera: unplugged")], LIVE)
    with pytest.raises(SourceLostError, match=r"not back within 0\.2 s"):
        run_live(model, [Input(source=source, reopen=reopen)], [sink], LiveOptions(reconnect_s=0.2))
    told = [result.state for result in sink.results if result.index is None]
    assert told == [State.RECONNECTING, State.LOST]


def test_a_sink_that_fails_ends_the_run_and_all_sinks_are_closed(model: Classifier, frame: MakeFrame) -> None:
    failing = FakeSink(fail_at=2, error=BadInputError("disk full"))
    before, after = FakeSink(), FakeSink()
    source = FakeSource((frame(index) for index in range(10**9)), FILE)
    with pytest.raises(BadInputError, match="disk full"):
        run_live(model, source, [before, failing, after])
    assert (len(before.results), len(after.results)) == (3, 2)
    assert before.closed
    assert failing.closed
    assert after.closed
    assert source.closed


def test_a_model_that_fails_ends_the_run_and_closes_everything(model: Classifier, frame: MakeFrame) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    sink, source = FakeSink(), FakeSource([frame(0)], FILE)
    with pytest.raises(ZeroDivisionError):
        run_live(SlowModel(model, fail), source, [sink])
    assert sink.closed
    assert source.closed


def test_a_run_ends_after_the_frames_that_were_asked_for(model: Classifier, frame: MakeFrame) -> None:
    source = FakeSource((frame(index) for index in range(10**9)), FILE)
    summary = run_live(model, source, options=LiveOptions(max_frames=7))
    assert summary.frames == 7
    assert not summary.interrupted


def test_a_run_ends_after_the_time_that_was_asked_for(model: Classifier, frame: MakeFrame) -> None:
    clock = FakeClock()
    slow = SlowModel(model, lambda: clock.sleep(0.1))
    source = FakeSource((frame(index) for index in range(10**9)), FILE)
    summary = run_live(slow, source, options=LiveOptions(duration_s=1.05), hooks=Hooks(clock=clock))
    assert summary.frames == 11
    assert summary.fps == pytest.approx(10.0)


def test_a_stopped_run_says_that_it_was_interrupted(model: Classifier, frame: MakeFrame) -> None:
    source = FakeSource((frame(index) for index in range(10**9)), FILE)
    control = Control()
    hooks = Hooks(control=control, on_result=lambda result: control.stop() if result.index == 2 else None)
    summary = run_live(model, source, hooks=hooks)
    assert summary.interrupted
    assert summary.frames == 3


def test_leaving_a_stream_early_closes_its_source(model: Classifier, frame: MakeFrame) -> None:
    source = FakeSource((frame(index) for index in range(10**9)), FILE)
    results = Stream(model, source, LiveOptions())
    next(results)
    results.close()
    assert source.closed


@pytest.mark.parametrize("wrong", [{"max_frames": 0}, {"duration_s": 0.0}, {"reconnect_s": -1.0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LiveOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 1.0])
def test_percentiles_are_exact_to_one_percent_in_little_memory(share: float) -> None:
    values = np.random.default_rng(0).lognormal(3, 1, 20_000)
    percentiles = Percentiles()
    for value in values:
        percentiles.add(float(value))
    assert percentiles.at(share) == pytest.approx(float(np.quantile(values, share)), rel=0.011)
    assert len(percentiles._counts) < 1500


def test_no_number_has_no_percentile() -> None:
    assert Percentiles().at(0.5) is None
