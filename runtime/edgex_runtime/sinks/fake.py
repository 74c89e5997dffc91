"""A sink that remembers, for tests and for whoever wants the results in memory."""

from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame


class FakeSink:
    """Collects what it is given; raises `error` at the result number `fail_at`, if one is given."""

    def __init__(self, *, fail_at: int | None = None, error: Exception | None = None) -> None:
        self.results: list[LiveResult] = []
        self.frames: list[Frame | None] = []
        self.closed = False
        self._fail_at = fail_at
        self._error = error

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Remember."""
        if self._error is not None and len(self.results) == self._fail_at:
            raise self._error
        self.frames.append(frame)
        self.results.append(result)

    def close(self) -> None:
        """Remember that, too."""
        self.closed = True
