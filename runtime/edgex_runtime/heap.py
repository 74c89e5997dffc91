"""Memory that was freed goes back to the system: glibc keeps it otherwise, which a board's process would for months."""

import ctypes


def release_freed() -> None:
    """Give back what start-up has freed; where the C library has no such call, as musl has none, nothing happens."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
