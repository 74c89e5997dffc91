"""What all network cameras share: a connection that another thread can cut, and its errors in words."""

import socket
import ssl
import threading
from contextlib import suppress

from edgex_runtime.errors import BadInputError, EdgexError, SourceLostError


class Cord:
    """The connection that one thread waits in, in the hand of another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def keep(self, connection: socket.socket) -> None:
        """Hold the connection that is waited in from now on; it is cut at once where that was asked for before."""
        with self._lock:
            self._socket = connection
            if self._is_cut:
                _shut(connection)

    def cut(self) -> None:
        """Make every wait end, now and later."""
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                _shut(self._socket)


def explain(error: object, *, name: str, timeout_s: float) -> EdgexError:
    """Put what a connection raised into words.

    Args:
        error: An OSError, or what else went wrong on the way.
        name: What may be shown of the camera's address.
        timeout_s: The time limit that was set.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return BadInputError(
            f"{name}: its certificate cannot be verified ({error.verify_message}): add #ca=FILE with the "
            "certificate to trust, or #verify=no to do without"
        )
    if isinstance(error, TimeoutError):
        why = f"no answer within {timeout_s:g} s"
    elif isinstance(error, socket.gaierror):
        why = f"no such host ({error.strerror})"
    elif isinstance(error, OSError) and error.strerror:
        why = error.strerror
    else:
        why = f"its answer cannot be understood ({type(error).__name__})"
    return SourceLostError(f"{name}: {why}: is the camera on, and the address right?")


def _shut(connection: socket.socket) -> None:
    # Not closed: the number could be another file's before the thread that reads it looks again. Not by `SSLSocket`,
    # which would let go of what that thread is using.
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
