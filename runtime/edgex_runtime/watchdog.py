"""Tells whoever supervises the process that frames flow: systemd by its socket, a deploy by a small file.

A sink like any other (`--out watchdog:///run/edgex-flowers/health.json`): it is the frame loop that feeds it, so a
camera that hangs starves the watchdog just as a process that hangs does.
"""

import json
import os
import socket
from pathlib import Path

from edgex_runtime.clock import Clock, SystemClock
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame

SCHEMA_VERSION = 1
SCHEME = "watchdog://"
_PERIOD_NS = 1_000_000_000


class Watchdog:
    """Says READY at the first classified frame, and WATCHDOG once a second while fresh ones follow.

    Args:
        health: A file for the newest state, in memory (`/run`): it is written every second. None for no file.
        socket_path: Where systemd listens (``$NOTIFY_SOCKET``); empty without systemd.
        clock: To which the frames are stamped.
    """

    def __init__(self, *, health: Path | None, socket_path: str, clock: Clock | None = None) -> None:
        self._health = health
        self._socket_path = socket_path
        self._clock = clock or SystemClock()
        self._started_ns = self._clock.now_ns()
        self._frames = 0
        self._told_ns: int | None = None
        self._told_state: State | None = None

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Count a result; tell of it at most once a second, and at once when the state changes.

        Raises:
            BadInputError: If the file cannot be written any more.
        """
        classified = result.label is not None
        self._frames += classified
        now_ns = self._clock.now_ns()
        due = self._told_ns is None or now_ns - self._told_ns >= _PERIOD_NS
        if not due and result.state is self._told_state:
            return
        if classified or self._told_state is not result.state:
            self._tell(result, now_ns, is_fed=classified)

    def close(self) -> None:
        """Say that the end was meant."""
        self._notify("STOPPING=1")

    def _tell(self, result: LiveResult, now_ns: int, *, is_fed: bool) -> None:
        if is_fed:
            self._told_ns = now_ns
        self._told_state = result.state
        age = "" if result.age_ms is None else f", {result.age_ms:.0f} ms old"
        status = f"STATUS={result.state.value}{age}, {self._frames} frames"
        # READY again is nothing to systemd, and saves knowing whether the first one arrived.
        self._notify(f"READY=1\nWATCHDOG=1\n{status}" if is_fed else status)
        if self._health is not None:
            _replace(self._health, self._record(result, now_ns))

    def _record(self, result: LiveResult, now_ns: int) -> str:
        return json.dumps(
            {
                "schema": SCHEMA_VERSION,
                "pid": os.getpid(),
                "started_ns": self._started_ns,
                "at_ns": now_ns,
                "frames": self._frames,
                "state": result.state.value,
                "age_ms": result.age_ms,
                "label": result.label,
            }
        )

    def _notify(self, message: str) -> None:
        if not self._socket_path:
            return
        # A leading @ stands for the null byte of an abstract socket (sd_notify(3)).
        address = "\0" + self._socket_path[1:] if self._socket_path.startswith("@") else self._socket_path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            try:
                notify.sendto(message.encode(), address)
            except OSError as error:
                raise BadInputError(f"watchdog: systemd's socket {self._socket_path} is not there: {error}") from error


def open_watchdog(uri: str, surroundings: Surroundings) -> Watchdog:
    """Open ``watchdog://``, or ``watchdog:///run/edgex-flowers/health.json``.

    Raises:
        BadInputError: If the file's folder is not there.
    """
    path = uri.removeprefix(SCHEME)
    if path and not Path(path).parent.is_dir():
        raise BadInputError(f"{uri}: want a file in a folder that exists, and that is in memory (/run)")
    return Watchdog(health=Path(path) if path else None, socket_path=os.environ.get("NOTIFY_SOCKET", ""))


def _replace(path: Path, text: str) -> None:
    # Not synced: it belongs in memory, and tells nothing after a power cut.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written any more: {error}") from error
