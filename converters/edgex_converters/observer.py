"""Who watches a conversion."""

import threading
from typing import Protocol

from edgex_converters.result import Outcome


class Observer(Protocol):
    """Told what the pipeline does; the command line draws bars from it."""

    def begin(self, step: str) -> None:
        """A step starts: ``quantize_onnx``, ``verify onnx int8``."""
        ...

    def advance(self, done: int, total: int) -> None:
        """The step has done `done` of `total`."""
        ...

    def finish(self, outcome: Outcome) -> None:
        """A target has its verdict."""
        ...


class Serial:
    """Passes on what several threads tell, one at a time."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._lock = threading.Lock()

    def begin(self, step: str) -> None:
        """See `Observer`."""
        with self._lock:
            self._observer.begin(step)

    def advance(self, done: int, total: int) -> None:
        """See `Observer`."""
        with self._lock:
            self._observer.advance(done, total)

    def finish(self, outcome: Outcome) -> None:
        """See `Observer`."""
        with self._lock:
            self._observer.finish(outcome)
