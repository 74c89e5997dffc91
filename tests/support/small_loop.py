"""A frame loop of the fewest parts, for whoever is tested against one: source → models → sink, in a thread."""

import threading
import time

from edgex_runtime.control import Control, ModelChoice
from edgex_runtime.errors import SourceLostError
from edgex_runtime.freshness import State
from edgex_runtime.sinks.sink import Event, LiveResult, Sink, StageTimes
from edgex_runtime.sources.source import Source, Unreadable


class SmallLoop(threading.Thread):
    """Classifies every frame; a context manager that closes source and sink."""

    def __init__(self, source: Source, models: ModelChoice, control: Control, sink: Sink) -> None:
        super().__init__(name="small-loop", daemon=True)
        self.results: list[LiveResult] = []
        self.source, self.models, self.control, self.sink = source, models, control, sink
        self._age_ms: float | None = None
        self._label: str | None = None

    def __enter__(self) -> "SmallLoop":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.control.stop()
        self.source.close()
        self.join(10)
        self.sink.close()

    def run(self) -> None:
        while not self.control.is_stopped:
            try:
                item = self.source.read()
            except SourceLostError as error:
                self._write(None, LiveResult(state=State.RECONNECTING, error=str(error), **self._told()))
                continue
            if item is None:
                return
            if self.control.is_paused:
                continue
            if isinstance(item, Unreadable):
                self._write(None, LiveResult(state=State.LIVE, error=item.error, index=item.index, **self._told()))
                continue
            taken_ns, model = time.monotonic_ns(), self.models.current
            prediction = self.models.classify([self.models.prepare(item.image)])[0]
            at_ns = time.monotonic_ns()
            self._age_ms = (at_ns - item.captured_ns) / 1e6
            events = () if prediction.label == self._label else (Event(kind="appeared", label=prediction.label),)
            self._label = prediction.label
            times = StageTimes(
                capture_ms=(taken_ns - item.captured_ns) / 1e6,
                preprocess_ms=prediction.timing.preprocess_ms,
                inference_ms=prediction.timing.inference_ms,
                postprocess_ms=prediction.timing.postprocess_ms,
            )
            answer = {"label": prediction.label, "score": prediction.score, "top5": prediction.top5, "times": times}
            told = {**self._told(), "name": item.name, "index": item.index, "model": model}
            self._write(item, LiveResult(state=State.LIVE, events=events, **answer, **told))

    def _told(self) -> dict[str, object]:
        name = self.source.info.name
        return {"name": name, "source": name, "at_ns": time.monotonic_ns(), "age_ms": self._age_ms, "dropped": 0}

    def _write(self, frame: object, result: LiveResult) -> None:
        self.results.append(result)
        self.sink.write(frame, result)  # type: ignore[arg-type]
