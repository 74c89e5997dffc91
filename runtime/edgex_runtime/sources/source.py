"""The seam between edgex and whatever gives pictures: three members, one file a kind of source."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.predictions import Prepared


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One picture.

    Attributes:
        image: (H, W, 3) uint8 RGB, C-contiguous, upright. Whoever gets a frame may keep it and must not draw on it.
        index: Position in the source, from 0; a live source that loses a frame skips its index.
        captured_ns: When the camera took it, or when a file was asked for it: nanoseconds of the run's `Clock`.
        name: What a person calls it: a file's name, ``webcam:0#12``.
        position_ms: Its timestamp in a video file; None elsewhere.
        prepared: The same picture, resized for the model by a thread that works ahead (`ahead.py`); no source sets it.
    """

    image: NDArray[np.uint8]
    index: int
    captured_ns: int
    name: str
    position_ms: float | None = None
    prepared: Prepared | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A picture that the source found and could not read: reported in its place, never skipped.

    Attributes:
        index: Position in the source, from 0.
        captured_ns: When it was asked for.
        name: What a person calls it.
        error: Why, in words.
    """

    index: int
    captured_ns: int
    name: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What a source says of itself once it is open.

    Attributes:
        name: What a person calls it.
        live: Whether the world moves on without us: a live source's old frames are dropped, a file's never.
        fps: Nominal frames per second; None where there are none (a folder) or the driver does not say.
    """

    name: str
    live: bool
    fps: float | None = None


class Source(Protocol):
    """Where pictures come from; opening one raises `BadInputError` or `SourceLostError`. One thread at a time reads.

    Opening and reading have time limits. A live source never gives a picture that was not decoded whole: that is
    `Unreadable`. Its messages and names show its address by `edgex_runtime.address.shown`.
    """

    @property
    def info(self) -> SourceInfo:
        """What it says of itself."""
        ...

    def read(self) -> Frame | Unreadable | None:
        """Wait for the next picture.

        Returns:
            None at the end; every later call too.

        Raises:
            SourceLostError: If it stopped before its end. It may be closed and opened again.
        """
        ...

    def close(self) -> None:
        """Let go of the device or file; a second call does nothing."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """A source whose `read` may wait for long, and can be told not to."""

    def interrupt(self) -> None:
        """Called by another thread: a `read` that waits returns None or raises soon, and so do all later ones."""
        ...
