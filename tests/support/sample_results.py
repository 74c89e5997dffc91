"""Results of every kind, and what a sink is opened with, for tests of sinks."""

import io

from edgex_runtime.freshness import State
from edgex_runtime.predictions import Score
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import Event, LiveResult, StageTimes
from edgex_runtime.sources.source import SourceInfo

FILE = SourceInfo(name="film.mp4", live=False, fps=12.5)
LIVE = SourceInfo(name="camera", live=True, fps=10.0)
FOLDER = SourceInfo(name="photos", live=False)

RESULT = LiveResult(
    state=State.LIVE,
    name="film.mp4#3",
    at_ns=1_000_000_000,
    age_ms=31.2344,
    dropped=2,
    index=3,
    label="róża",
    score=0.9312345678,
    top5=(Score(label="róża", score=0.9312345678), Score(label="cat", score=0.07)),
    times=StageTimes(capture_ms=1.0, preprocess_ms=2.0, inference_ms=3.0, postprocess_ms=0.5),
    position_ms=240.0,
)
EVENTS = (Event(kind="appeared", label="cat"), Event(kind="left", label="róża"))
STALE = LiveResult(state=State.STALE, name="camera", at_ns=2_000_000_000, age_ms=700.0, dropped=0)
FAILED = LiveResult(
    state=State.LIVE, name="x.jpg", at_ns=0, age_ms=None, dropped=0, index=1, error="x.jpg: want an image"
)


def surroundings(source: SourceInfo = FILE) -> Surroundings:
    return Surroundings(source=source, stdout=io.StringIO(), stderr=io.StringIO())
