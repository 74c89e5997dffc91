"""Preparing ahead: the thread that reads also resizes, while the engine works on another frame.

A file's frames all wait, and all are prepared. Of a camera's, most are never classified: only the one that the engine
will take next is.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.clock import Clock
from edgex_runtime.predictions import Prepared
from edgex_runtime.sources.source import Frame, Interruptible, Source, SourceInfo, Unreadable


class AheadSource:
    """A file's source whose frames come prepared."""

    def __init__(self, source: Source, prepare: Callable[[NDArray[np.uint8]], Prepared]) -> None:
        """Take over `source`; `prepare` is called by the thread that reads."""
        self._source = source
        self._prepare = prepare

    @property
    def info(self) -> SourceInfo:
        """What the source says of itself."""
        return self._source.info

    def read(self) -> Frame | Unreadable | None:
        """The next picture, prepared."""
        item = self._source.read()
        return with_prepared(item, self._prepare(item.image)) if isinstance(item, Frame) else item

    def interrupt(self) -> None:
        """End a read that waits, where the source can."""
        if isinstance(self._source, Interruptible):
            self._source.interrupt()

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class Foresight:
    """When the engine will be free: told by the thread that runs it, asked by the one that reads a camera."""

    def __init__(self, clock: Clock) -> None:
        """Begin with an engine that is free, and of which nothing is known."""
        self._clock = clock
        self._began_ns = 0
        self._took_ns: int | None = None
        self._free_ns: int | None = None

    def begin(self) -> None:
        """The engine starts; it will take as long as the last time."""
        self._began_ns = self._clock.now_ns()
        self._free_ns = None if self._took_ns is None else self._began_ns + self._took_ns

    def end(self) -> None:
        """The engine is free."""
        self._took_ns = self._clock.now_ns() - self._began_ns
        self._free_ns = None

    def is_next(self, period_ns: int) -> bool:
        """Whether the engine is busy, and will take the frame that came just now rather than one a period later."""
        free_ns = self._free_ns
        return free_ns is not None and self._clock.now_ns() + period_ns >= free_ns


def with_prepared(frame: Frame, prepared: Prepared) -> Frame:
    """The same frame; `dataclasses.replace` takes twice as long, which counts at a thousand frames a second."""
    return Frame(
        image=frame.image,
        index=frame.index,
        captured_ns=frame.captured_ns,
        name=frame.name,
        position_ms=frame.position_ms,
        prepared=prepared,
    )
