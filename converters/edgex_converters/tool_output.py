"""Keeps the tools' chatter out of the user's terminal: it goes into the stage's log, where an error can quote it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def tool_output_to(log: Path) -> Iterator[None]:
    """Send what this process writes to stdout and stderr to `log`, C++ libraries included, until the block ends.

    The tools print progress, banners and warnings on both, some from C++ where Python's `redirect_stdout` has no hold;
    a command whose stdout is data needs the descriptors themselves redirected.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as sink:
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])


def tail(log: Path, lines: int = 5) -> str:
    """The log's last lines, each indented on a line of its own: what an error message ends with."""
    if not log.exists():
        return ""
    return "".join(f"\n    {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])
