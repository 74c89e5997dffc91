"""From any thread into the server's event loop."""

import asyncio
import contextlib
from collections.abc import Callable


def call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Have the loop call something; a loop that has ended meanwhile does not."""
    # It may end between any question and the call.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
