"""What the run last said, of each source: written by the sink's thread, read by the server's."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from edgex_runtime.address import scrub, shown
from edgex_runtime.console.history import History, Point
from edgex_runtime.freshness import State
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame, SourceInfo

EVENTS = 100
MAX_SILENCE_NS = 2_000_000_000
"""A live source's results stop for so long, or for three of their own periods: then the page must not look live."""
SILENT_PERIODS = 3
NOTICE_NS = 10_000_000_000
"""Of a camera's damaged pictures a notice comes so often at most, with their number: others would drown in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to act on, or to know later: an event of a result, a change of state, or a picture that failed.

    Attributes:
        number: Counts up by one, over all sources.
        at_s: Seconds since 1970.
        source: Whose.
        kind: ``appeared``, ``left``, ``state`` or ``error``.
        text: The class, the state, or what went wrong.
    """

    number: int
    at_s: float
    source: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """A classified frame and when we heard of it, in nanoseconds of `time.monotonic_ns`."""

    frame: Frame
    result: LiveResult
    heard_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A source at this moment.

    Attributes:
        name: What a person calls it.
        live: Whether its pictures age.
        state: A `State`'s value, or ``WAITING`` before the first result.
        age_ms: How old the newest classified frame is now; of a file, how old it was when its result was ready.
        fps: Classified frames a second.
        dropped: Frames that newer ones replaced.
        frames: Classified so far.
        label: The newest answer; None before the first.
        known: Whether it reached the user's threshold.
        why: What is wrong, in words.
    """

    name: str
    live: bool
    state: str
    age_ms: float | None
    fps: float
    dropped: int
    frames: int
    label: str | None
    known: bool
    why: str


class Board:
    """Keeps the newest of everything, and calls `on_news` after each `put`; safe in any thread."""

    def __init__(self, sources: Iterable[SourceInfo], *, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.on_news: Callable[[], None] = lambda: None
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._notices: deque[Notice] = deque(maxlen=EVENTS)
        self._next_notice = 1
        # A source's name is its author's business; that no password stands in it is ours too.
        safe = [replace(info, name=shown(info.name)) for info in sources]
        self._channels = {info.name: _Channel(info, now_ns()) for info in safe}

    def put(self, frame: Frame | None, result: LiveResult) -> None:
        """Take one result; a result that names no source is the first one's."""
        now_ns = self._now_ns()
        with self._lock:
            name = shown(result.source) if result.source else next(iter(self._channels))
            channel = self._channels.get(name)
            if channel is None:
                channel = self._channels[name] = _Channel(SourceInfo(name=name, live=True), now_ns)
            for kind, text in channel.put(frame, result, now_ns):
                notice = Notice(number=self._next_notice, at_s=time.time(), source=name, kind=kind, text=text)
                self._next_notice += 1
                self._notices.append(notice)
        self.on_news()

    def statuses(self, *, paused: bool) -> tuple[Status, ...]:
        """All sources as they are now; a paused run's silence is no fault."""
        now_ns = self._now_ns()
        with self._lock:
            return tuple(channel.status(now_ns, paused=paused) for channel in self._channels.values())

    def newest(self, source: str) -> Seen | None:
        """The newest classified frame of a source."""
        with self._lock:
            channel = self._channels.get(source)
            return channel.seen if channel else None

    def points(self, source: str, after: int) -> tuple[Point, ...]:
        """What its plots have gained since point `after`."""
        now_ns = self._now_ns()
        with self._lock:
            channel = self._channels.get(source)
            if channel is None:
                return ()
            channel.history.advance(now_ns)
            return channel.history.after(after)

    def notices(self, after: int) -> tuple[Notice, ...]:
        """What happened since notice `after`, oldest first."""
        with self._lock:
            return tuple(notice for notice in self._notices if notice.number > after)


class _Channel:
    """One source's newest; under the board's lock."""

    def __init__(self, info: SourceInfo, now_ns: int) -> None:
        self.info = info
        self.seen: Seen | None = None
        self.history = History(now_ns)
        self._result: LiveResult | None = None
        self._heard_ns = now_ns
        self._frames = 0
        self._failed = False
        self._failures = 0
        self._noticed_ns: int | None = None

    def put(self, frame: Frame | None, result: LiveResult, now_ns: int) -> list[tuple[str, str]]:
        """Take one result; returns what is worth a notice, as kind and text."""
        before = self._result
        told: list[tuple[str, str]] = [(event.kind, event.label) for event in result.events]
        if before is not None and before.state is not result.state:
            told.append(("state", result.state.value))
        told += self._notice_failure(result, now_ns)
        self._result, self._heard_ns = result, now_ns
        classified = frame is not None and result.label is not None
        self._frames += classified
        self.history.add(now_ns, age_ms=result.age_ms, classified=classified)
        if frame is not None and result.label is not None:
            self.seen = Seen(frame=frame, result=result, heard_ns=now_ns)
        return told

    def _notice_failure(self, result: LiveResult, now_ns: int) -> list[tuple[str, str]]:
        """What went wrong, once; of a camera's damaged pictures the newest now and then, and how many there were."""
        text = scrub(result.error or "")
        if result.index is None or result.error is None:
            before, self._failed = self._failed, bool(text)
            return [("error", text)] if text and not before else []
        self._failures += 1
        if self.info.live and self._noticed_ns is not None and now_ns - self._noticed_ns < NOTICE_NS:
            return []
        more = f"{self._failures} pictures could not be read; the last: " if self._failures > 1 else ""
        self._failures, self._noticed_ns = 0, now_ns
        return [("error", more + text)]

    def status(self, now_ns: int, *, paused: bool) -> Status:
        self.history.advance(now_ns)
        result, shown = self._result, self.seen.result if self.seen else None
        silent_ns = now_ns - self._heard_ns
        state, why = ("WAITING", "") if result is None else (result.state.value, scrub(result.error or ""))
        period_ns = 1e9 / self.history.fps if self.history.fps else 0.0
        if (
            self.info.live
            and not paused
            and state == State.LIVE.value
            and silent_ns > max(MAX_SILENCE_NS, SILENT_PERIODS * period_ns)
        ):
            state, why = State.STALE.value, "the model gives no results"
        age_ms = result.age_ms if result else None
        if age_ms is not None and self.info.live:
            age_ms += silent_ns / 1e6
        return Status(
            name=self.info.name,
            live=self.info.live,
            state=state,
            age_ms=age_ms,
            fps=self.history.fps,
            dropped=result.dropped if result else 0,
            frames=self._frames,
            label=shown.label if shown else None,
            known=shown.known if shown else True,
            why=why,
        )
