"""`for result in model.stream(source)`: a live run as an iterator, also for asyncio, that any thread may close."""

import asyncio
import threading
from collections.abc import Sequence
from os import PathLike, fspath
from types import TracebackType

from edgex_runtime.control import Classifier, Control
from edgex_runtime.live import Hooks, LiveOptions, open_inputs, run_results
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Source

Watchable = str | int | PathLike[str] | Source
"""An open source, or what names one: an address, a path, a webcam's number."""


class Stream:
    """The results of a live run, one after the other: `for`, `async for`, or `next`; a context manager of both kinds.

    The frames are classified by the thread that asks for the next result (`async for`: by one of asyncio's workers).
    While nobody asks, a live source goes on, and what it showed meanwhile is dropped: the next result is of its newest.
    Leaving the loop and losing the stream closes the source; so does `close`, and `with` calls it.
    """

    def __init__(self, model: Classifier, sources: Watchable | Sequence[Watchable], options: LiveOptions) -> None:
        """Open the sources.

        Raises:
            BadInputError: If a source cannot be what it says, or the options do not fit it.
            SourceLostError: If a camera is not there or does not answer.
        """
        # A str is a sequence of str, too.
        single = isinstance(sources, str) or not isinstance(sources, Sequence)
        watched: Sequence[Watchable] = [sources] if single else sources  # type: ignore[list-item,assignment]
        self._inputs = open_inputs([_as_typed(one) for one in watched])
        self._control = Control()
        self._turn = threading.Lock()
        self._results = run_results(model, self._inputs, options, Hooks(control=self._control))
        self._is_begun = False

    @property
    def control(self) -> Control:
        """The run's switches: pause, resume, stop."""
        return self._control

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> LiveResult:
        """Wait for the next result.

        Raises:
            StopIteration: At the end, or when the stream was closed.
            SourceLostError: If a source was lost and did not come back.
        """
        with self._turn:
            self._is_begun = True
            return next(self._results)

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> LiveResult:
        """`__next__` without blocking the event loop; a task that is cancelled meanwhile leaves the stream as it is."""
        result = await asyncio.to_thread(next, self, None)
        if result is None:
            raise StopAsyncIteration
        return result

    def close(self) -> None:
        """End the run and close its sources; by any thread, also while another waits for a result; twice is once."""
        self._control.stop()
        with self._turn:
            self._results.close()
            for given in () if self._is_begun else self._inputs:
                # A generator that never ran has nothing to clean up after.
                given.source.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)


def _as_typed(source: Watchable) -> str | Source:
    """What `edgex live` would be given for it."""
    if isinstance(source, int):
        return str(source)
    return fspath(source) if isinstance(source, PathLike) else source
