"""The thread between a source and the model: of a live source it keeps the newest frame only, of a file every frame."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from edgex_runtime.clock import Clock
from edgex_runtime.errors import SourceLostError
from edgex_runtime.freshness import FillerFilter, State, stale_after_ns
from edgex_runtime.sources.source import Frame, Source, Unreadable

logger = logging.getLogger(__name__)

FILE_QUEUE = 2
"""Frames read ahead of the model: enough to decode while it works, few enough to stay young."""
BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 4.0
JOIN_S = 3.0
"""How long `close` waits for a source that is inside its driver; such a read cannot be interrupted."""


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
        reconnect_s: float = 30.0,
        changed: threading.Condition | None = None,
    ) -> None:
        """Store; the thread starts with the `with` block.

        Args:
            source: Open, and closed by this object.
            clock: The clock that stamps the source's frames.
            reopen: Opens the source again after it was lost; None gives up at once.
            reconnect_s: How long to go on trying.
            changed: Notified at every change; several captures may share one, so that one thread can wait for all.
        """
        self._source = source
        self._clock = clock
        self._reopen = reopen
        self._reconnect_s = reconnect_s
        self._live = source.info.live
        self._stale_after_ns = stale_after_ns(source.info.fps)
        self._capacity = 1 if self._live else FILE_QUEUE
        self._ready: deque[Frame | Unreadable] = deque()
        self._changed = changed or threading.Condition()
        self._filler = FillerFilter()
        self._thread = threading.Thread(target=self._run, name="edgex-capture", daemon=True)
        self._stopping = False
        self._finished = False
        self._error: Exception | None = None
        self._reconnecting = False
        self._news_ns = clock.now_ns()
        self._next_index = 0
        self._index_offset = 0
        self._dropped = 0

    def __enter__(self) -> "Capture":
        self._news_ns = self._clock.now_ns()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(JOIN_S)
        if self._thread.is_alive():
            logger.warning("%s: the driver does not answer; it is left behind", self._source.info.name)

    @property
    def dropped(self) -> int:
        """Frames of a live source that a newer one replaced before the model was free."""
        return self._dropped

    @property
    def stale_after_s(self) -> float:
        """After how many seconds without a new frame the source counts as STALE."""
        return self._stale_after_ns / 1e9

    @property
    def has_news(self) -> bool:
        """Whether `take` would answer at once: with a frame, an end or an error."""
        return bool(self._ready) or self._finished

    def state(self) -> State:
        """What the source is doing now; a file that is being read is LIVE."""
        if self._reconnecting:
            return State.RECONNECTING
        silent_ns = self._clock.now_ns() - self._news_ns
        return State.STALE if self._live and silent_ns > self._stale_after_ns else State.LIVE

    def take(self, *, timeout_s: float) -> Frame | Unreadable | End | None:
        """Wait for a frame that was not taken before.

        Returns:
            None when `timeout_s` passed without one.

        Raises:
            Exception: What the source raised, once all that it gave before has been taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._finished, timeout_s)
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
        if self._live and isinstance(item, Frame) and self._filler.is_filler(item.image):
            return
        if self._index_offset:
            item = replace(item, index=item.index + self._index_offset)
        with self._changed:
            self._reconnecting = False
            self._news_ns = self._clock.now_ns()
            self._next_index = item.index + 1
            if self._live and self._ready:
                self._ready.clear()
                self._dropped += 1
            self._changed.wait_for(lambda: len(self._ready) < self._capacity or self._stopping)
            self._ready.append(item)
            self._changed.notify_all()

    def _reconnect(self, lost: SourceLostError) -> None:
        """Open the source again, with growing pauses; raise `lost` when it stays away."""
        if self._reopen is None:
            raise lost
        name = self._source.info.name
        logger.warning("%s; trying to open it again for %g s", lost, self._reconnect_s)
        self._reconnecting = True
        self._source.close()
        lost_ns = self._clock.now_ns()
        pause_s = BACKOFF_FIRST_S
        while not self._pause(pause_s):
            try:
                self._source = self._reopen()
            except SourceLostError as error:
                left_s = self._reconnect_s - (self._clock.now_ns() - lost_ns) / 1e9
                if left_s <= 0:
                    raise SourceLostError(
                        f"{name}: lost, and not back within {self._reconnect_s:g} s: {error}"
                    ) from lost
                pause_s = min(2 * pause_s, BACKOFF_MAX_S, left_s)
                continue
            # It is back, but RECONNECTING until it has shown something new.
            logger.warning("%s: is open again", name)
            self._index_offset = self._next_index
            return

    def _pause(self, seconds: float) -> bool:
        """Wait; True at once when the run is stopping."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, seconds)
