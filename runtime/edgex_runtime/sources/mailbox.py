"""Where a browser's camera and the frame loop meet: one place, by name, that holds the newest picture only."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from edgex_runtime.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture that a browser sent.

    Attributes:
        jpeg: As it came; nothing of it has been checked.
        captured_ns: When the camera took it, in nanoseconds of the mailbox's clock.
        index: Position among all that came; a picture that was replaced leaves a gap.
        on_gone: Called once, by any thread, when it was taken or replaced: the browser may send the next.
    """

    jpeg: bytes
    captured_ns: int
    index: int
    on_gone: Callable[[], None]


class Mailbox:
    """One place for one picture. The console puts, the source takes; either may come and go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.clock: Clock = SystemClock()
        self._changed = threading.Condition()
        self._shot: Shot | None = None
        self._next_index = 0
        self.is_served = False
        """Whether a console runs, whose page can put pictures here."""

    def put(self, jpeg: bytes, captured_ns: int, on_gone: Callable[[], None]) -> None:
        """Leave a picture in the place of the one before."""
        with self._changed:
            replaced = self._shot
            self._shot = Shot(jpeg=jpeg, captured_ns=captured_ns, index=self._next_index, on_gone=on_gone)
            self._next_index += 1
            self._changed.notify_all()
        if replaced is not None:
            replaced.on_gone()

    def take(self, *, timeout_s: float, given_up: Callable[[], bool]) -> Shot | None:
        """Wait for a picture that was not taken before.

        Args:
            timeout_s: How long.
            given_up: Asked at each `wake`; True ends the waiting.

        Returns:
            None when there is none.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._shot is not None or given_up(), timeout_s)
            shot, self._shot = self._shot, None
        if shot is not None:
            shot.on_gone()
        return shot

    def wake(self) -> None:
        """Let a waiting `take` look whether it has been given up."""
        with self._changed:
            self._changed.notify_all()


_mailboxes: dict[str, Mailbox] = {}
_lock = threading.Lock()


def mailbox(name: str) -> Mailbox:
    """The mailbox of that name; the same one for whoever asks in this process."""
    with _lock:
        return _mailboxes.setdefault(name, Mailbox(name))


def find_mailbox(name: str) -> Mailbox | None:
    """The mailbox of that name, if a source has asked for it."""
    with _lock:
        return _mailboxes.get(name)
