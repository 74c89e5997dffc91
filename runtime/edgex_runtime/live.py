"""The frame loop: source → newest frame → model → sinks. A result never lags, and says how old its frame is."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.capture import Capture, End
from edgex_runtime.clock import Clock, SystemClock
from edgex_runtime.errors import SourceLostError
from edgex_runtime.freshness import State
from edgex_runtime.predictions import Prediction
from edgex_runtime.sinks.sink import LiveResult, Sink, StageTimes
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source, Unreadable
from edgex_runtime.summary import LiveSummary, Tally

__all__ = ["LiveOptions", "LiveResult", "LiveSummary", "run_live", "stream"]

WAIT_S = 0.1
"""Longest wait for a frame before the loop looks at its stop flag, its clock and the source's state."""


class Classifier(Protocol):
    """What the loop needs of a `Model`."""

    def predict(self, image: NDArray[np.uint8]) -> Prediction:
        """Classify one (H, W, 3) uint8 RGB image."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """When a run ends, besides at its source's end.

    Attributes:
        max_frames: After so many results of frames; None for no such end.
        duration_s: After so many seconds; None for no such end.
        reconnect_s: How long a lost live source may stay away.
    """

    max_frames: int | None = None
    duration_s: float | None = None
    reconnect_s: float = 30.0

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames: want 1 or more, got {self.max_frames}")
        if self.duration_s is not None and not self.duration_s > 0:
            raise ValueError(f"duration_s: want more than 0, got {self.duration_s}")
        if not self.reconnect_s >= 0:
            raise ValueError(f"reconnect_s: want 0 or more, got {self.reconnect_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a caller of `run_live` may hand in.

    Attributes:
        reopen: Opens the source again when it was lost; None makes a loss final.
        stop: Asked between frames; True ends the run. May be set by a signal handler.
        on_result: Called with each result after the sinks have it, their time included.
        on_end: Called with the summary when the sinks are closed, also when an error is about to be raised.
        clock: The one that the source stamps its frames with.
    """

    reopen: Callable[[], Source] | None = None
    stop: Callable[[], bool] = lambda: False
    on_result: Callable[[LiveResult], None] = lambda _: None
    on_end: Callable[[LiveSummary], None] = lambda _: None
    clock: Clock = SystemClock()  # noqa: RUF009 - holds no state


def run_live(
    model: Classifier,
    source: Source,
    sinks: Sequence[Sink] = (),
    options: LiveOptions = LiveOptions(),
    hooks: Hooks = Hooks(),
) -> LiveSummary:
    """Classify what `source` shows, until it ends or the caller does.

    Args:
        model: Used by the calling thread only.
        source: Open; closed when the run ends, however it ends.
        sinks: Open; closed when the run ends, however it ends. One that raises ends the run.
        options: When to end.
        hooks: Callbacks and the clock.

    Raises:
        SourceLostError: If the source was lost and did not come back; the sinks were told so before.
    """
    tally = Tally()
    loop = _Loop(model, source, options, hooks)
    with ExitStack() as stack:
        # Last in, first out: the summary comes after the sinks are closed, and they after the capture thread has ended.
        stack.callback(lambda: hooks.on_end(loop.summarise(tally)))
        for sink in sinks:
            stack.callback(sink.close)
        results = stack.enter_context(closing(loop.results()))
        for frame, result in results:
            written = _write(sinks, frame, result, hooks.clock)
            tally.add(written)
            hooks.on_result(written)
    return loop.summarise(tally)


def stream(
    model: Classifier,
    source: str | Source,
    *,
    max_frames: int | None = None,
    duration_s: float | None = None,
    reconnect_s: float = 30.0,
) -> Iterator[LiveResult]:
    """Classify what `source` shows, result by result; leaving the loop closes the source.

    Args:
        model: Used by the thread that iterates.
        source: What `open_source` takes, or an open source.
        max_frames: After so many results of frames the stream ends.
        duration_s: After so many seconds, too.
        reconnect_s: How long a lost camera may stay away.

    Raises:
        BadInputError: If the source cannot be what it says.
        SourceLostError: If it was lost and did not come back.
    """
    options = LiveOptions(max_frames=max_frames, duration_s=duration_s, reconnect_s=reconnect_s)
    hooks = Hooks(reopen=partial(open_source, source) if isinstance(source, str) else None)
    opened = open_source(source) if isinstance(source, str) else source
    with closing(_Loop(model, opened, options, hooks).results()) as results:
        for _, result in results:
            yield result


class _Loop:
    """One run's state: where the results come from, and how the source ended."""

    def __init__(self, model: Classifier, source: Source, options: LiveOptions, hooks: Hooks) -> None:
        self._model = model
        self._source = source
        self._options = options
        self._hooks = hooks
        self._state = State.LIVE
        self._interrupted = False
        self._captured_ns: int | None = None

    def results(self) -> Generator[tuple[Frame | None, LiveResult], None, None]:
        """Yield each frame's result, and the source's state whenever there is no frame to tell it."""
        hooks, options = self._hooks, self._options
        capture = Capture(self._source, clock=hooks.clock, reopen=hooks.reopen, reconnect_s=options.reconnect_s)
        start_ns = hooks.clock.now_ns()
        silence = _Silence(capture.stale_after_s)
        count = 0
        with capture:
            while not self._is_over(count, start_ns):
                try:
                    item = capture.take(timeout_s=WAIT_S)
                except SourceLostError as error:
                    self._state = State.LOST
                    yield None, self._tell(State.LOST, capture, str(error))
                    raise
                if item is End.END:
                    self._state = State.ENDED
                    return
                if item is None:
                    state = capture.state()
                    if silence.must_tell(state, hooks.clock.now_ns()):
                        self._state = state
                        yield None, self._tell(state, capture)
                    continue
                silence.end()
                count += 1
                yield self._classify(item, capture)

    def summarise(self, tally: Tally) -> LiveSummary:
        """The figures of the run so far."""
        return tally.summary(state=self._state, interrupted=self._interrupted)

    def _is_over(self, count: int, start_ns: int) -> bool:
        self._interrupted = self._hooks.stop()
        limit, seconds = self._options.max_frames, self._options.duration_s
        enough = limit is not None and count >= limit
        late = seconds is not None and self._hooks.clock.now_ns() - start_ns >= seconds * 1e9
        return self._interrupted or enough or late

    def _classify(self, item: Frame | Unreadable, capture: Capture) -> tuple[Frame | None, LiveResult]:
        now_ns = self._hooks.clock.now_ns
        if isinstance(item, Unreadable):
            told = self._tell(capture.state(), capture, item.error)
            return None, replace(told, name=item.name, index=item.index)
        taken_ns = now_ns()
        prediction = self._model.predict(item.image)
        at_ns = now_ns()
        self._captured_ns = item.captured_ns
        # Asked after the inference: a camera that hung meanwhile must not be shown as live.
        self._state = capture.state()
        times = StageTimes(
            capture_ms=(taken_ns - item.captured_ns) / 1e6,
            preprocess_ms=prediction.timing.preprocess_ms,
            inference_ms=prediction.timing.inference_ms,
            postprocess_ms=prediction.timing.postprocess_ms,
        )
        return item, LiveResult(
            state=self._state,
            name=item.name,
            at_ns=at_ns,
            age_ms=(at_ns - item.captured_ns) / 1e6,
            dropped=capture.dropped,
            index=item.index,
            label=prediction.label,
            score=prediction.score,
            top5=prediction.top5,
            times=times,
            position_ms=item.position_ms,
        )

    def _tell(self, state: State, capture: Capture, error: str | None = None) -> LiveResult:
        at_ns = self._hooks.clock.now_ns()
        age_ms = None if self._captured_ns is None else (at_ns - self._captured_ns) / 1e6
        name = self._source.info.name
        return LiveResult(state=state, name=name, at_ns=at_ns, age_ms=age_ms, dropped=capture.dropped, error=error)


class _Silence:
    """Decides when a source without news is worth telling of: at each change, and now and then, as its age grows."""

    def __init__(self, period_s: float) -> None:
        self._period_ns = period_s * 1e9
        self._told: State | None = None
        self._told_ns = 0

    def must_tell(self, state: State, now_ns: int) -> bool:
        if state is State.LIVE or (state is self._told and now_ns - self._told_ns < self._period_ns):
            return False
        self._told, self._told_ns = state, now_ns
        return True

    def end(self) -> None:
        self._told = None


def _write(sinks: Sequence[Sink], frame: Frame | None, result: LiveResult, clock: Clock) -> LiveResult:
    start_ns = clock.now_ns()
    for sink in sinks:
        sink.write(frame, result)
    if result.times is None:
        return result
    return replace(result, times=replace(result.times, sink_ms=(clock.now_ns() - start_ns) / 1e6))
