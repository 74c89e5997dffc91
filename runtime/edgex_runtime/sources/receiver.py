"""The thread that empties a camera's connection, so that no picture ages in a buffer while another one is decoded."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgex_runtime.errors import EdgexError, SourceLostError

T = TypeVar("T")
JOIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire(Generic[T]):
    """What a receiver needs to know of one kind of connection.

    Attributes:
        name: What may be shown of its address.
        timeout_s: For the camera's answer, and for each wait for something to take.
        connect: Connects, and returns what then comes; called in the receiver's thread.
        cut: Makes every wait of `connect`, and of what it returned, end; called by another thread.
        explain: Puts an error of the two into words.
        failures: The errors that these may raise.
        make_room: Called with what waits, before each new item joins it.
    """

    name: str
    timeout_s: float
    connect: Callable[[], Iterator[T]]
    cut: Callable[[], None]
    explain: Callable[[Exception], EdgexError]
    failures: tuple[type[Exception], ...]
    make_room: Callable[[deque[T]], None]


class Receiver(Generic[T]):
    """Reads a wire in a thread of its own, from `open` to `close`."""

    def __init__(self, wire: Wire[T]) -> None:
        """Store; `open` connects."""
        self._wire = wire
        self._thread = threading.Thread(target=self._run, name="edgex-receiver", daemon=True)
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._connected = False
        self._closed = False
        self._error: EdgexError | None = None

    def open(self) -> None:
        """Connect, and wait for the answer: name look-up, log-in and redirects together have one time limit.

        Raises:
            BadInputError: If the address, the log-in or what the camera sends cannot be used.
            SourceLostError: If it does not answer in time.
        """
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._error, self._wire.timeout_s)
            error, connected = self._error, self._connected
        if not connected:
            self.close()
            raise error or SourceLostError(f"{self._wire.name}: no answer within {self._wire.timeout_s:g} s")

    def take(self) -> list[T]:
        """Wait until something is here.

        Returns:
            All that is here, oldest first; nothing once the receiver is closed.

        Raises:
            SourceLostError: If the connection ended, or nothing came in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._error or self._closed, self._wire.timeout_s)
            if self._closed:
                return []
            items = list(self._items)
            self._items.clear()
        if not items:
            raise self._error or SourceLostError(
                f"{self._wire.name}: no picture within {self._wire.timeout_s:g} s: the camera hangs or is cut off"
            )
        return items

    def pause(self, seconds: float) -> bool:
        """Wait, in the receiver's own thread; True at once when it is being closed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, seconds)

    def interrupt(self) -> None:
        """Cut the connection; a `take` that waits returns."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._wire.cut()

    def close(self) -> None:
        """Cut the connection and wait for the thread, which may still be looking up the host's name."""
        self.interrupt()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        try:
            items = self._wire.connect()
            with self._changed:
                self._connected = True
                self._changed.notify_all()
            for item in items:
                with self._changed:
                    self._wire.make_room(self._items)
                    self._items.append(item)
                    self._changed.notify_all()
            error: EdgexError = SourceLostError(f"{self._wire.name}: the camera ended the stream")
        except EdgexError as failure:
            error = failure
        except self._wire.failures as failure:
            error = self._wire.explain(failure)
        finally:
            self._wire.cut()
        with self._changed:
            self._error = error
            self._changed.notify_all()
