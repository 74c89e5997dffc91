"""The seam between the frame loop and whoever shows or keeps its results: two members, one file a kind of sink."""

from dataclasses import dataclass
from typing import Literal, Protocol

from edgex_runtime.freshness import State
from edgex_runtime.predictions import Score
from edgex_runtime.sources.source import Frame

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """Where a frame's milliseconds went.

    Attributes:
        capture_ms: From the moment that the camera took it (a file was asked for it) to the moment the model took it.
        preprocess_ms: Resizing.
        inference_ms: The engine.
        postprocess_ms: Softmax and labels.
    """

    capture_ms: float
    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A class came into view or left it, debounced: what people act on.

    Attributes:
        kind: What happened.
        label: The class.
    """

    kind: Literal["appeared", "left"]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResult:
    """What is known at one moment of a live run: of a frame, or of a source that gives none.

    A classified frame has `label`, `score`, `top5` and `times`; a picture that could not be read has `error`; what only
    tells the source's state has no `index`.

    Attributes:
        state: What the source is doing at this moment.
        name: Of the frame, or of the source.
        at_ns: When the result was ready, in nanoseconds of the run's clock.
        age_ms: How old the newest classified frame was at that moment; None before the first.
        dropped: Frames of the run so far that were replaced by newer ones before the model was free.
        index: The frame's position in its source.
        label: The likeliest class.
        score: Its probability, 0..1.
        top5: The five likeliest, best first.
        times: What the frame cost.
        position_ms: The frame's timestamp in a video file.
        error: Why there is no label, in words.
        source: What a person calls the source; the same in all of its results.
        model: What a person calls the model; "" where the run has only one.
        known: Whether `score` reached the threshold that the user set; below it the label is a guess, shown as unknown.
        events: What changed with this result.
        reused: Whether the scene stood still and the answer is the last classified frame's; the age is this one's.
    """

    state: State
    name: str
    at_ns: int
    age_ms: float | None
    dropped: int
    index: int | None = None
    label: str | None = None
    score: float | None = None
    top5: tuple[Score, ...] = ()
    times: StageTimes | None = None
    position_ms: float | None = None
    error: str | None = None
    source: str = ""
    model: str = ""
    known: bool = True
    events: tuple[Event, ...] = ()
    reused: bool = False

    @property
    def shown_label(self) -> str | None:
        """The label as people may read it: `UNKNOWN` for a guess, None where there is none."""
        return self.label if self.known or self.label is None else UNKNOWN


class Sink(Protocol):
    """Where results go; opening it raises `BadInputError`. A sink that cannot write raises and thereby ends the run.

    A run calls it from one thread, its own (`queued.py`), so that a slow sink holds nobody up.
    """

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Take one result.

        Args:
            frame: The picture it belongs to, not to be drawn on; None where there is none.
            result: What is known.
        """
        ...

    def close(self) -> None:
        """Finish what was written, so that it can be used; a second call does nothing."""
        ...
