"""A live run: sources → newest frames → models → sinks. A result never lags, and says how old its frame is."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from edgex_runtime.answers import AnswerOptions
from edgex_runtime.clock import Clock, SystemClock
from edgex_runtime.control import Classifier, Control, ModelChoice
from edgex_runtime.errors import BadInputError
from edgex_runtime.feed import FeedOptions, Input
from edgex_runtime.loop import Loop
from edgex_runtime.motion import MotionOptions
from edgex_runtime.sinks.queued import QueuedSink
from edgex_runtime.sinks.sink import LiveResult, Sink
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source
from edgex_runtime.summary import LiveSummary, Tally

__all__ = [
    "Classifier",
    "Hooks",
    "Input",
    "LiveOptions",
    "LiveResult",
    "LiveSummary",
    "open_inputs",
    "run_live",
    "run_results",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """When a run ends, besides at its sources' end, and how its answers are made.

    Attributes:
        max_frames: After so many results of frames; None for no such end.
        duration_s: After so many seconds; None for no such end.
        reconnect_s: How long a lost live source may stay away; infinity for ever.
        answers: Smoothing, hysteresis, the threshold of the unknown, debounce of events.
        motion: What counts as motion, where a still scene is not to be classified again; None classifies every frame.
    """

    max_frames: int | None = None
    duration_s: float | None = None
    reconnect_s: float = 30.0
    answers: AnswerOptions = field(default_factory=AnswerOptions)
    motion: MotionOptions | None = None

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
        control: The run's switches, for whoever else may turn them.
        on_result: Called with each result after the sinks have it.
        on_end: Called with the summary when the sinks are closed, also when an error is about to be raised.
        clock: The one that the sources stamp their frames with.
    """

    control: Control = field(default_factory=Control)
    on_result: Callable[[LiveResult], None] = lambda _: None
    on_end: Callable[[LiveSummary], None] = lambda _: None
    clock: Clock = field(default_factory=SystemClock)


def run_live(
    model: Classifier,
    inputs: Source | Sequence[Input],
    sinks: Sequence[Sink] = (),
    options: LiveOptions | None = None,
    hooks: Hooks | None = None,
) -> LiveSummary:
    """Classify what the inputs show, until they end or the caller does.

    Args:
        model: Its engine is used by the calling thread only; a `ModelChoice` may be switched by any.
        inputs: Open sources, or one whose loss is final; closed when the run ends, however it ends.
        sinks: Open; closed when the run ends, however it ends. One that raises ends the run.
        options: When to end, and how answers are made.
        hooks: Callbacks, switches and the clock.

    Raises:
        BadInputError: If the options do not fit a source.
        SourceLostError: If a source was lost and did not come back, when the others have ended; the sinks were told.
    """
    options, hooks = options or LiveOptions(), hooks or Hooks()
    run = _Run(model, inputs if isinstance(inputs, Sequence) else [Input(source=inputs)], options, hooks)
    tally = Tally()
    with ExitStack() as stack:
        # Last in, first out: the summary comes after the sinks are closed, and they after the capture threads.
        stack.callback(lambda: hooks.on_end(run.summarise(tally)))
        for sink in sinks:
            stack.callback(sink.close)
        # Before the first is closed all are told to end, so that several dead ones take no longer than one.
        for sink in sinks:
            if isinstance(sink, QueuedSink):
                stack.callback(sink.end)
        for frame, result in stack.enter_context(closing(run.results())):
            tally.add(result, sink_ms=_write(sinks, frame, result, hooks.clock))
            hooks.on_result(result)
    return run.summarise(tally)


def run_results(
    model: Classifier, inputs: Sequence[Input], options: LiveOptions, hooks: Hooks
) -> Generator[LiveResult, None, None]:
    """Classify what the inputs show, result by result; see `run_live`.

    The sources are taken over at once and closed when the generator is, if it was ever started.
    """
    run = _Run(model, inputs, options, hooks)

    def results() -> Generator[LiveResult, None, None]:
        with closing(run.results()) as pairs:
            for _, result in pairs:
                yield result

    return results()


def open_inputs(sources: Sequence[str | Source]) -> list[Input]:
    """Open sources that may be opened again when they are lost; those that are open already cannot.

    Raises:
        BadInputError: If one cannot be what it says, or none was given; those before it are closed again.
        SourceLostError: If a camera is not there or does not answer.
    """
    if not sources:
        raise BadInputError("want one source or more, got none")
    with ExitStack() as stack:
        inputs: list[Input] = []
        for source in sources:
            opened = open_source(source) if isinstance(source, str) else source
            stack.callback(opened.close)
            reopen = partial(open_source, source) if isinstance(source, str) else None
            inputs.append(Input(source=opened, reopen=reopen, name=_new_name(opened.info.name, inputs)))
        stack.pop_all()
    return inputs


def _new_name(name: str, inputs: Sequence[Input]) -> str:
    """The name itself, or with a number where a source before it is called the same: two views of one camera, say."""
    taken = {given.info.name for given in inputs}
    names = (name if number == 1 else f"{name} ({number})" for number in count(1))
    return next(one for one in names if one not in taken)


class _Run:
    """The loop with the run's own ends: so many frames, so many seconds."""

    def __init__(self, model: Classifier, inputs: Sequence[Input], options: LiveOptions, hooks: Hooks) -> None:
        models = model if isinstance(model, ModelChoice) else ModelChoice({"": model})
        how = FeedOptions(reconnect_s=options.reconnect_s, answers=options.answers, motion=options.motion)
        try:
            self._loop = Loop(models, inputs, how, hooks.clock)
        except BadInputError:
            for given in inputs:
                given.source.close()
            raise
        self._options = options
        self._hooks = hooks
        self._frames = 0
        self._start_ns = hooks.clock.now_ns()

    def results(self) -> Generator[tuple[Frame | None, LiveResult], None, None]:
        """The loop's results, counted."""
        with closing(self._loop.results(self._hooks.control, self._is_over)) as results:
            for frame, result in results:
                self._frames += result.index is not None
                yield frame, result

    def summarise(self, tally: Tally) -> LiveSummary:
        """The figures of the run so far."""
        return tally.summary(state=self._loop.state, interrupted=self._hooks.control.is_stopped)

    def _is_over(self) -> bool:
        limit, seconds = self._options.max_frames, self._options.duration_s
        if limit is not None and self._frames >= limit:
            return True
        return seconds is not None and self._hooks.clock.now_ns() - self._start_ns >= seconds * 1e9


def _write(sinks: Sequence[Sink], frame: Frame | None, result: LiveResult, clock: Clock) -> float:
    """Hand a result to all sinks; milliseconds that it took."""
    start_ns = clock.now_ns()
    for sink in sinks:
        sink.write(frame, result)
    return (clock.now_ns() - start_ns) / 1e6
