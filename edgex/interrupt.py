"""Ctrl-C while a program is still being imported."""

import os
import signal

EXIT_INTERRUPTED = 130


class LeavesAtOnce:
    """While it is entered, Ctrl-C ends the process without a word: for imports, when nothing is open yet.

    Not by an exception, which would say where in numpy the program was, or be lost: the start-up code of some
    libraries swallows any.
    """

    def __enter__(self) -> None:
        self._previous = signal.getsignal(signal.SIGINT)
        # One that is ignored, as under nohup, stays so.
        if self._previous is signal.default_int_handler:
            signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))

    def __exit__(self, *_: object) -> None:
        if self._previous is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._previous)
