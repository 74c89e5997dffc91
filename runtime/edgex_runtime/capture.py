"""The thread between a source and the model: of a live source it keeps the newest frame only, of a file every frame."""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

import numpy as np

from edgex_runtime.backoff import Backoff
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.freshness import FillerFilter, Rhythm, State
from edgex_runtime.sources.source import Frame, Interruptible, Source, Unreadable

logger = logging.getLogger(__name__)

FILE_QUEUE = 2
"""Frames read ahead of the model: enough to decode while it works, few enough to stay young."""
JOIN_S = 1.0
"""How long `close` waits for a source that is inside its driver; Ctrl-C has two seconds in all."""


class End(Enum):
    """What `Capture.take` returns when the source has ended and everything it gave has been taken."""

    END = "end"


class Capture:
    """Reads a source in a thread of its own; a context manager. One other thread takes the frames.

    A live source's frame waits in one place, where the next one replaces it and is counted in `dropped`; filler (see
    `FillerFilter`) never gets there. A file's frames wait in a short queue, and the file waits when it is full.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Clock,
        reopen: Callable[[], Source] | None = None,
        reconnect_s: float | None = 30.0,
        changed: threading.Condition | None = None,
        ahead: Callable[[Frame, int], Frame | None] = lambda _, __: None,
        rng: np.random.Generator | None = None,
    ) -> None:
        """Store; the thread starts with the `with` block.

        Args:
            source: Open, and closed by this object.
            clock: The clock that stamps the source's frames.
            reopen: Opens a live source again after it was lost; None gives up at once.
            reconnect_s: How long a lost source may show nothing new before the run ends; None or infinity: for ever.
            changed: Notified at every change; several captures may share one, so that one thread can wait for all.
            ahead: Given a live source's new frame and the time from one to the next in nanoseconds, it gives the frame
                back prepared, or None to leave it as it is.
            rng: For the pauses between two tries; by default another one in every process.
        """
        self._source = source
        self._clock = clock
        self._reopen = reopen
        self._limit_s = math.inf if reconnect_s is None else reconnect_s
        self._backoff = Backoff(rng)
        self._live = source.info.live
        self._ahead = ahead
        self._rhythm = Rhythm(source.info.fps)
        self._capacity = 1 if self._live else FILE_QUEUE
        self._ready: deque[Frame | Unreadable] = deque()
        self._changed = changed or threading.Condition()
        self._filler = FillerFilter()
        self._is_filler_told = False
        self._thread = threading.Thread(target=self._run, name="edgex-capture", daemon=True)
        self._stopping = False
        self._finished = False
        self._error: Exception | None = None
        self._lost_ns: int | None = None
        self._news_ns = clock.now_ns()
        self._next_index = 0
        self._index_offset = 0
        self._dropped = 0
        self._damaged = 0
        self._reconnects = 0

    def __enter__(self) -> "Capture":
        self._news_ns = self._clock.now_ns()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            source = self._source
        if isinstance(source, Interruptible):
            source.interrupt()
        self._thread.join(JOIN_S)
        if self._thread.is_alive():
            # It ends by itself, and closes what it has opened, when the driver's own time limit has passed.
            logger.warning("%s: does not answer; it is closed when it does", source.info.name)

    @property
    def dropped(self) -> int:
        """Frames of a live source that a newer one replaced before the model was free."""
        return self._dropped

    @property
    def damaged(self) -> int:
        """Pictures of a live source that could not be decoded whole."""
        return self._damaged

    @property
    def reconnects(self) -> int:
        """How often a lost source came back with a new frame."""
        return self._reconnects

    @property
    def stale_after_s(self) -> float:
        """After how many seconds without a new frame the source counts as STALE."""
        return self._rhythm.stale_after_ns / 1e9

    @property
    def has_news(self) -> bool:
        """Whether `take` would answer at once: with a frame, an end or an error."""
        return bool(self._ready) or self._finished

    def state(self) -> State:
        """What the source is doing now; a file that is being read is LIVE."""
        if self._lost_ns is not None:
            return State.RECONNECTING
        silent_ns = self._clock.now_ns() - self._news_ns
        return State.STALE if self._live and silent_ns > self._rhythm.stale_after_ns else State.LIVE

    def take(self, *, timeout_s: float) -> Frame | Unreadable | End | None:
        """Wait for a frame that was not taken before.

        Returns:
            None when `timeout_s` passed without one.

        Raises:
            Exception: What the source raised, once all that it gave before has been taken.
        """
        with self._changed:
            if not (self._ready or self._finished) and timeout_s > 0:
                self._changed.wait_for(lambda: self._ready or self._finished, min(timeout_s, threading.TIMEOUT_MAX))
            if self._ready:
                item = self._ready.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            return End.END if self._finished else None

    def let_go(self) -> None:
        """Forget the frame that waits, if the source is live; a file's frames are never forgotten."""
        with self._changed:
            if self._live and self._ready:
                self._ready.clear()
                self._dropped += 1

    def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    item = self._source.read()
                except SourceLostError as lost:
                    if not self._stopping:
                        self._reconnect(lost)
                    continue
                if item is None:
                    break
                self._offer(item)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the thread that takes the frames
            self._error = error
        finally:
            # Here and not in `__exit__`: a driver must not be closed while it is being read.
            self._source.close()
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _offer(self, item: Frame | Unreadable) -> None:
        if self._index_offset:
            item = replace(item, index=item.index + self._index_offset)
        self._next_index = item.index + 1
        if self._live:
            self._offer_newest(item)
        else:
            self._append(item)

    def _offer_newest(self, item: Frame | Unreadable) -> None:
        if isinstance(item, Unreadable):
            self._damaged += 1
            # Neither news of the source, nor worth a frame that waits.
            with self._changed:
                if not self._ready:
                    self._append(item)
            return
        if self._filler.is_filler(item.image):
            self._tell_filler()
            return
        with self._changed:
            self._welcome()
            self._dropped += sum(isinstance(waiting, Frame) for waiting in self._ready)
            self._ready.clear()
        # Whoever looks while it is being prepared gets no older frame, and has this one sooner than by preparing it.
        self._append(self._ahead(item, self._rhythm.period_ns) or item)

    def _tell_filler(self) -> None:
        """Once a run: a closed shutter and a still screen look like a camera that hangs, and are not mended as one."""
        if not self._is_filler_told and self.state() is State.STALE:
            self._is_filler_told = True
            logger.warning(
                "%s: gives pictures, and nothing new: they are black, or the last one again, which is not classified",
                self._source.info.name,
            )

    def _welcome(self) -> None:
        """A new frame came: the source lives, and a later loss is another one."""
        self._news_ns = self._clock.now_ns()
        self._rhythm.beat(self._news_ns)
        if self._lost_ns is not None:
            self._lost_ns = None
            self._reconnects += 1
            self._backoff.reset()

    def _append(self, item: Frame | Unreadable) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) < self._capacity or self._stopping)
            self._ready.append(item)
            self._changed.notify_all()

    def _reconnect(self, lost: SourceLostError) -> None:
        """Open the source again, with growing pauses; raise when it shows nothing new within the limit.

        A source that opens and fails at once is still lost: pauses and limit go on until a new frame came.
        """
        if self._reopen is None or not self._live:
            raise lost
        name = self._source.info.name
        self._source.close()
        if self._lost_ns is None:
            self._lost_ns = self._clock.now_ns()
            limit = f"{self._limit_s:g} s" if math.isfinite(self._limit_s) else "as long as it takes"
            logger.warning("%s; trying to open it again for %s", lost, limit)
        elif self._left_s() <= 0:
            raise self._gone(name, lost)
        while not self._pause(min(self._backoff.next_s(), max(self._left_s(), 0.0))):
            try:
                source = self._reopen()
            except (SourceLostError, BadInputError) as error:
                # Also what would be the user's mistake at the start: the same words have opened this source before, so
                # it is the camera that is not itself yet (a log-in page while it boots, another stream, half a file).
                if self._left_s() <= 0:
                    raise self._gone(name, error) from lost
                continue
            self._take_over(source)
            return

    def _take_over(self, source: Source) -> None:
        """It is back, but RECONNECTING until it has shown something new."""
        with self._changed:
            self._source = source
        self._rhythm = Rhythm(source.info.fps)
        self._index_offset = self._next_index
        logger.info("%s: is open again", source.info.name)

    def _left_s(self) -> float:
        lost_ns = self._clock.now_ns() if self._lost_ns is None else self._lost_ns
        return self._limit_s - (self._clock.now_ns() - lost_ns) / 1e9

    def _gone(self, name: str, error: Exception) -> SourceLostError:
        return SourceLostError(f"{name}: lost, and not back within {self._limit_s:g} s: {error}")

    def _pause(self, seconds: float) -> bool:
        """Wait; True at once when the run is stopping."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, seconds)
