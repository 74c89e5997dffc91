"""Raw pictures that come through a pipe: another program's, or standard input."""

import os
import select
from collections.abc import Callable

WAIT_S = 0.2
"""Longest wait before the reader looks whether it is being closed."""
HEADER_MAX_BYTES = 64


class PipeSilentError(TimeoutError):
    """Nothing came in time."""


class Pipe:
    """Reads a descriptor, which stays its owner's; every wait ends when `stop` says so."""

    def __init__(self, descriptor: int, *, timeout_s: float | None, stop: Callable[[], bool]) -> None:
        """Store.

        Args:
            descriptor: Open for reading.
            timeout_s: How long the next byte may take; None waits for ever.
            stop: Asked while waiting.
        """
        self._descriptor = descriptor
        self._timeout_s = timeout_s
        self._stop = stop
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def wait(self) -> bool:
        """Wait until something, or the end, is here; False where `stop` came first.

        Raises:
            PipeSilentError: If neither came in time.
        """
        waited_s = 0.0
        while not self._stop():
            if self._poll.poll(WAIT_S * 1000):
                return True
            waited_s += WAIT_S
            if self._timeout_s is not None and waited_s >= self._timeout_s:
                raise PipeSilentError(f"nothing came within {self._timeout_s:g} s")
        return False

    def at_end(self) -> bool:
        """Whether nothing is here and nothing will come."""
        return any(not event & select.POLLIN for _, event in self._poll.poll(0))

    def fill(self, buffer: memoryview) -> int:
        """Read until `buffer` is full; fewer bytes only at the end, or where `stop` came first."""
        count = 0
        while count < len(buffer) and self.wait():
            read = os.readv(self._descriptor, [buffer[count:]])
            if read == 0:
                break
            count += read
        return count

    def line(self) -> bytes:
        """Read up to a line's end, and not a byte more; empty at the end of all."""
        text = bytearray()
        byte = bytearray(1)
        while not text.endswith(b"\n") and len(text) < HEADER_MAX_BYTES and self.fill(memoryview(byte)) == 1:
            text += byte
        return bytes(text)
