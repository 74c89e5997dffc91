"""Preparing ahead: a file's frames all wait, so its reader also resizes them, while the engine works on another."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.predictions import Prepared
from edgex_runtime.sources.source import Frame, Interruptible, Source, SourceInfo, Unreadable


class AheadSource:
    """A file's source whose frames come prepared. A live one's must not: most of its frames are never classified."""

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
        return replace(item, prepared=self._prepare(item.image)) if isinstance(item, Frame) else item

    def interrupt(self) -> None:
        """End a read that waits, where the source can."""
        if isinstance(self._source, Interruptible):
            self._source.interrupt()

    def close(self) -> None:
        """Close the source."""
        self._source.close()
