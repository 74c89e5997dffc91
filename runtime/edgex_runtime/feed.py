"""One source within a live run: its capture, its state, and how its frames' predictions become results."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from edgex_runtime.ahead import AheadSource, Foresight, with_prepared
from edgex_runtime.answers import AnswerOptions, Stabiliser
from edgex_runtime.capture import Capture
from edgex_runtime.clock import Clock, SystemClock
from edgex_runtime.control import ModelChoice
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.motion import MotionGate, MotionOptions
from edgex_runtime.predictions import Prediction, Prepared
from edgex_runtime.sinks.sink import LiveResult, StageTimes
from edgex_runtime.sources.source import Frame, Source, SourceInfo, Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A source of a run.

    Attributes:
        source: Open.
        reopen: Opens it again after it was lost; None makes a loss final.
        name: What a person calls it among the sources of the run; None where the source's own name tells it apart.
    """

    source: Source
    reopen: Callable[[], Source] | None = None
    name: str | None = None

    @property
    def info(self) -> SourceInfo:
        """What the source says of itself, under its name in the run."""
        info = self.source.info
        return info if self.name is None else replace(info, name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """How one source's frames are treated; see `LiveOptions`."""

    reconnect_s: float
    answers: AnswerOptions
    motion: MotionOptions | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """A frame on its way through the engine.

    Attributes:
        feed: Whose it is.
        frame: Itself.
        taken_ns: When the model took it.
        prepared: Itself, resized.
    """

    feed: "Feed"
    frame: Frame
    taken_ns: int
    prepared: Prepared


@dataclass(slots=True)
class _Silence:
    """Decides when a source without news is worth telling of: at each change, and now and then, as its age grows."""

    period_ns: float
    told: State | None = None
    told_ns: int = 0

    def must_tell(self, state: State, now_ns: int) -> bool:
        if state is State.LIVE or (state is self.told and now_ns - self.told_ns < self.period_ns):
            return False
        self.told, self.told_ns = state, now_ns
        return True


@dataclass(slots=True)
class _Newest:
    """What is known of the newest classified frame."""

    captured_ns: int | None = None
    prediction: Prediction | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all feeds of a run have in common."""

    models: ModelChoice
    clock: Clock = field(default_factory=SystemClock)


class Feed:
    """Used by the loop's thread; a context manager that starts and ends the capture's."""

    def __init__(
        self,
        given: Input,
        models: ModelChoice,
        options: FeedOptions,
        clock: Clock,
        changed: threading.Condition,
        foresight: Foresight | None,
    ) -> None:
        """Take over the source; with `foresight`, a live one's thread prepares the frame that is taken next.

        Raises:
            BadInputError: If answers are to be smoothed over pictures that do not follow one another in time.
        """
        info = given.info
        _check_is_stream(info, options)
        self._shared = _Shared(models, clock)
        self._info = info
        self._is_stream = _is_stream(info)
        self._stabiliser = Stabiliser(options.answers)
        self._gate = None if options.motion is None else MotionGate(options.motion)
        self._newest = _Newest()
        self._foresight = foresight
        self.state = State.LIVE
        self.capture = Capture(
            given.source if info.live else AheadSource(given.source, models.prepare),
            clock=clock,
            reopen=given.reopen,
            reconnect_s=options.reconnect_s,
            changed=changed,
            ahead=self._prepare_ahead,
        )
        self._silence = _Silence(self.capture.stale_after_s * 1e9)

    def __enter__(self) -> "Feed":
        self.capture.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.capture.__exit__()

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more."""
        return self.state in (State.ENDED, State.LOST)

    def tell_silence(self) -> LiveResult | None:
        """What is to be said of a source that shows nothing new; None for nothing."""
        state = self.capture.state()
        if not self._silence.must_tell(state, self._shared.clock.now_ns()):
            return None
        self.state = state
        return self._tell(state)

    def tell_lost(self, error: Exception) -> LiveResult:
        """Say that the source was lost and did not come back."""
        self.state = State.LOST
        return self._tell(State.LOST, str(error))

    def tell_ended(self) -> LiveResult:
        """Say that the source came to its end."""
        self.state = State.ENDED
        return self._tell(State.ENDED)

    def tell_unreadable(self, item: Unreadable) -> LiveResult:
        """Say that a picture could not be read."""
        return replace(self._tell(self.capture.state(), item.error), name=item.name, index=item.index)

    def prepare(self, frame: Frame) -> Taken:
        """Resize a frame for the model in use, unless that was done ahead."""
        taken_ns = self._shared.clock.now_ns()
        prepared = frame.prepared or self._shared.models.prepare(frame.image)
        return Taken(feed=self, frame=frame, taken_ns=taken_ns, prepared=prepared)

    def reuse(self, frame: Frame) -> LiveResult | None:
        """The last answer for a frame that shows the same scene; None if it must be classified."""
        newest, models = self._newest, self._shared.models
        if self._gate is None or not self._gate.is_still(frame.image, frame.captured_ns):
            return None
        if newest.prediction is None or newest.owner != models.current:
            return None
        now_ns = self._shared.clock.now_ns()
        nothing = StageTimes(
            capture_ms=(now_ns - frame.captured_ns) / 1e6, preprocess_ms=0.0, inference_ms=0.0, postprocess_ms=0.0
        )
        return replace(self._result(frame, newest.prediction, newest.owner, nothing), reused=True)

    def finish(self, taken: Taken, prediction: Prediction) -> LiveResult:
        """Make a frame's result."""
        self._newest.prediction, self._newest.owner = prediction, taken.prepared.owner
        ahead_ms = taken.prepared.preprocess_ms if taken.frame.prepared else 0.0
        times = StageTimes(
            capture_ms=max((taken.taken_ns - taken.frame.captured_ns) / 1e6 - ahead_ms, 0.0),
            preprocess_ms=prediction.timing.preprocess_ms,
            inference_ms=prediction.timing.inference_ms,
            postprocess_ms=prediction.timing.postprocess_ms,
        )
        return self._result(taken.frame, prediction, taken.prepared.owner, times)

    def _result(self, frame: Frame, prediction: Prediction, owner: str, times: StageTimes) -> LiveResult:
        at_ns = self._shared.clock.now_ns()
        self._silence.told = None
        self._newest.captured_ns = frame.captured_ns
        # Asked after the inference: a camera that hung meanwhile must not be shown as live.
        self.state = self.capture.state()
        seen_ns = frame.captured_ns if frame.position_ms is None else round(frame.position_ms * 1e6)
        answer = self._stabiliser.answer(prediction, self._shared.models.models[owner].spec, seen_ns)
        return LiveResult(
            state=self.state,
            name=frame.name,
            at_ns=at_ns,
            age_ms=(at_ns - frame.captured_ns) / 1e6,
            dropped=self.capture.dropped,
            index=frame.index,
            label=answer.label,
            score=answer.score,
            top5=answer.top5,
            times=times,
            position_ms=frame.position_ms,
            source=self._info.name,
            model=owner if len(self._shared.models.models) > 1 else "",
            known=answer.known,
            events=answer.events if self._is_stream else (),
        )

    def _prepare_ahead(self, frame: Frame, period_ns: int) -> Frame | None:
        if self._foresight is None or not self._foresight.is_next(period_ns):
            return None
        return with_prepared(frame, self._shared.models.prepare(frame.image))

    def _tell(self, state: State, error: str | None = None) -> LiveResult:
        at_ns = self._shared.clock.now_ns()
        captured_ns, name = self._newest.captured_ns, self._info.name
        age_ms = None if captured_ns is None else (at_ns - captured_ns) / 1e6
        return LiveResult(
            state=state, name=name, at_ns=at_ns, age_ms=age_ms, dropped=self.capture.dropped, error=error, source=name
        )


def _is_stream(info: SourceInfo) -> bool:
    """Whether pictures follow one another in time; a folder's do not."""
    return info.live or info.fps is not None


def _check_is_stream(info: SourceInfo, options: FeedOptions) -> None:
    asked = {
        "smoothing (--smooth)": options.answers.smooth_s,
        "hysteresis (--hysteresis)": options.answers.hysteresis,
        "the motion gate (--motion)": options.motion,
    }
    wanted = [words for words, value in asked.items() if value]
    if wanted and not _is_stream(info):
        raise BadInputError(
            f"{info.name}: single pictures, each with an answer of its own: leave out {', '.join(wanted)}, or take a "
            "camera or a video"
        )
