"""A thread between the frame loop and one sink, over a bounded queue: a slow or dead sink holds nobody up."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edgex_runtime.freshness import State
from edgex_runtime.sinks.sink import LiveResult, Sink
from edgex_runtime.sources.source import Frame
from edgex_runtime.summary import Percentiles

logger = logging.getLogger(__name__)

DRAIN_S = 1.2
"""After so long, what still waits is given up, so that the sink has the rest of `CLOSE_S` to close in."""
CLOSE_S = 1.6
"""After so long a sink that does not end is left behind: Ctrl-C has to end a run, the interpreter too, within 2 s."""
POLL_S = 0.05
# One waits while another is being written.
MIN_CAPACITY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkFigures:
    """What became of the results that one sink was given.

    Attributes:
        name: What a person calls the sink; holds no secret.
        written: Results that it took.
        dropped: Results that gave way to newer ones, or were given up at the end.
        median_ms: What it took for one; None before the first. Exact to one percent.
        left_behind: Whether it did not end when it was told to.
        delivered: Of a sink that speaks to a server: the messages that it has confirmed. What a sink took is not there
            yet, and several results may be one message, or none. None for all others.
    """

    name: str
    written: int
    dropped: int
    median_ms: float | None
    left_behind: bool
    delivered: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """How a queue behaves that is full, and at the end.

    Attributes:
        capacity: Results (and pictures, if it keeps them) that are held at most, the one in work included.
        waits: Whether the caller waits for room, so that every result arrives; otherwise old results give way.
        pictures: Whether the sink looks at the pictures; otherwise none is held for it.
        patient: Whether `close` waits until the sink has ended, however long that takes.
        urgent: Asked while the caller waits; True ends the waiting, as after Ctrl-C.
    """

    capacity: int
    waits: bool
    pictures: bool = True
    patient: bool = False
    urgent: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        if self.capacity < MIN_CAPACITY:
            raise ValueError(f"capacity: want {MIN_CAPACITY} or more, got {self.capacity}")


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    frame: Frame | None
    result: LiveResult
    matters: bool


@runtime_checkable
class Lossy(Protocol):
    """A sink that drops things itself, such as one that speaks to a server that is away."""

    @property
    def dropped(self) -> int:
        """How much it has dropped; asked by any thread."""
        ...


@runtime_checkable
class Delivering(Protocol):
    """A sink that speaks to a server, which confirms what it gets."""

    @property
    def delivered(self) -> int:
        """How many messages it has confirmed; asked by any thread."""
        ...


@runtime_checkable
class Persistent(Protocol):
    """A sink that tries something again, and does not for long once it is told that the run ends."""

    def hurry(self) -> None:
        """Come to an end; called by another thread than `write` is."""
        ...


class QueuedSink:
    """A sink that hands its results to a thread of its own, which writes them to another sink and closes that.

    What the other sink raises is raised here, at the next `write` and every later one, or else at `close`. When a queue
    that does not wait is full, plain results give way first: the changes of a source's state and events stay.
    """

    def __init__(self, sink: Sink, *, name: str, options: QueueOptions) -> None:
        """Store; the thread starts with the first result.

        Args:
            sink: Used and closed by the thread only.
            name: What a person calls it.
            options: How it behaves when it is full, and at the end.
        """
        self._sink = sink
        self._name = name
        self._options = options
        self._ready: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"edgex-sink {name}", daemon=True)
        self._started = False
        self._busy = False
        self._ended_s: float | None = None
        self._error: Exception | None = None
        self._told = False
        self._states: dict[str, State] = {}
        self._written = 0
        self._dropped = 0
        self._spent = Percentiles()
        self._left_behind = False

    @property
    def name(self) -> str:
        """What a person calls the sink."""
        return self._name

    @property
    def dropped(self) -> int:
        """Results that gave way to newer ones, here or in the sink."""
        return self._dropped + (self._sink.dropped if isinstance(self._sink, Lossy) else 0)

    def figures(self) -> SinkFigures:
        """The figures so far; by any thread."""
        with self._changed:
            return SinkFigures(
                name=self._name,
                written=self._written,
                dropped=self.dropped,
                median_ms=self._spent.at(0.5),
                left_behind=self._left_behind,
                delivered=self._sink.delivered if isinstance(self._sink, Delivering) else None,
            )

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Queue one result; after `end` it is dropped.

        Raises:
            Exception: What the sink raised.
        """
        with self._changed:
            self._start()
            item = _Item(frame if self._options.pictures else None, result, self._is_news(result))
            if self._options.waits:
                self._wait_for_room()
            self._raise()
            if self._ended_s is not None or not (self._has_room() or self._make_room(item)):
                self._dropped += 1
                return
            self._ready.append(item)
            self._changed.notify_all()

    def end(self) -> None:
        """Take no more; the thread writes what waits, and closes the sink. Returns at once; `close` waits for it."""
        with self._changed:
            self._start()
            if self._ended_s is None:
                self._ended_s = time.monotonic()
                if isinstance(self._sink, Persistent):
                    self._sink.hurry()
            self._changed.notify_all()

    def close(self) -> None:
        """Wait for the sink's end, or leave it behind after `CLOSE_S`; a second call does nothing.

        Raises:
            Exception: What the sink raised and `write` has not told yet.
        """
        self.end()
        while self._thread.is_alive() and not self._is_late(CLOSE_S):
            self._thread.join(POLL_S)
        if self._thread.is_alive() and not self._left_behind:
            with self._changed:
                self._left_behind = True
                self._give_up()
            logger.warning("%s: does not end; it is left behind, and what it was given last may be lost", self._name)
        if not self._told:
            self._raise()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._thread.start()

    def _raise(self) -> None:
        if self._error is not None:
            self._told = True
            raise self._error

    def _is_news(self, result: LiveResult) -> bool:
        """Whether a result says more than that the world went on; remembers the state, so call it once for each."""
        before = self._states.get(result.source)
        self._states[result.source] = result.state
        return bool(result.events) or result.state is not before

    def _has_room(self) -> bool:
        return len(self._ready) + self._busy < self._options.capacity

    def _wait_for_room(self) -> None:
        while not (self._has_room() or self._error or self._ended_s is not None or self._options.urgent()):
            self._changed.wait(POLL_S)

    def _make_room(self, item: _Item) -> bool:
        """Let the oldest plain result go, or the oldest of all for one that matters; False if `item` itself must."""
        victim = next((waiting for waiting in self._ready if not waiting.matters), None)
        if victim is None and not item.matters:
            return False
        self._ready.remove(victim or self._ready[0])
        self._dropped += 1
        return True

    def _give_up(self) -> None:
        """Drop all that waits."""
        self._dropped += len(self._ready)
        self._ready.clear()

    def _run(self) -> None:
        for step in (self._consume, self._sink.close):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the thread that writes
                with self._changed:
                    self._error = self._error or error
                    self._give_up()
                    self._changed.notify_all()

    def _consume(self) -> None:
        while (item := self._next()) is not None:
            start_ns = time.perf_counter_ns()
            self._sink.write(item.frame, item.result)
            spent_ms = (time.perf_counter_ns() - start_ns) / 1e6
            with self._changed:
                self._written += 1
                self._spent.add(spent_ms)

    def _next(self) -> _Item | None:
        with self._changed:
            self._busy = False
            if self._options.waits:
                self._changed.notify_all()
            while not self._ready and self._ended_s is None:
                self._changed.wait()
            if self._is_late(DRAIN_S):
                self._give_up()
            if not self._ready:
                return None
            self._busy = True
            return self._ready.popleft()

    def _is_late(self, limit_s: float) -> bool:
        """Whether more than `limit_s` have passed since `end`, where that counts."""
        options = self._options
        if self._ended_s is None or options.patient or (options.waits and not options.urgent()):
            return False
        return time.monotonic() - self._ended_s >= limit_s


def close_together(sinks: Sequence[QueuedSink]) -> None:
    """Close all sinks at once, so that several dead ones take no longer than one.

    Raises:
        Exception: What one of them raised, when all are closed.
    """
    with ExitStack() as stack:
        for sink in sinks:
            sink.end()
            stack.callback(sink.close)
