"""Tells whoever supervises the process that frames flow: systemd by its socket, a deploy by a small file.

A sink like any other (`--out watchdog:///run/edgex-flowers/health.json`): it is the frame loop that feeds it, so a
camera that hangs starves the watchdog just as a process that hangs does; of several cameras, each one that hangs.
"""

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock, SystemClock
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.health import HealthMonitor
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame, SourceInfo

SCHEMA_VERSION = 1
SCHEME = "watchdog://"
_PERIOD_NS = 1_000_000_000
_BY_URGENCY = (State.LOST, State.RECONNECTING, State.STALE)
_KNOWN_LOST = (State.LOST, State.RECONNECTING)


@dataclass(slots=True)
class _Watched:
    """What one source's results said last.

    Attributes:
        live: Whether it has to give frames for as long as it is there; a file may end.
        state: None before the first result.
        frames: Classified so far.
        captured_ns: When its newest classified frame was taken; None before the first.
        hangs: Whether it was said to show nothing new since then.
    """

    live: bool = True
    state: State | None = None
    frames: int = 0
    captured_ns: int | None = None
    hangs: bool = False

    def take(self, result: LiveResult, now_ns: int) -> None:
        self.state = result.state
        if result.label is None:
            self.hangs = self.hangs or result.state is State.STALE
            return
        self.frames += 1
        self.hangs = False
        self.captured_ns = now_ns - round((result.age_ms or 0.0) * 1e6)

    @property
    def is_on_duty(self) -> bool:
        """Whether frames of it are wanted: a camera that is known to be lost is told, and opened again, by the run."""
        return self.live and self.state not in _KNOWN_LOST

    def is_fresh(self, now_ns: int, limit_ns: int | None) -> bool:
        """Whether it gives frames; `limit_ns` is the time that it has for one, where there is such a limit."""
        if self.captured_ns is None or self.hangs:
            return False
        return limit_ns is None or now_ns - self.captured_ns <= limit_ns


class Watchdog:
    """Says READY and WATCHDOG once a second while frames come: of every camera but those that are known to be lost.

    A camera that hangs is a fault that a new start may mend; one that is lost is opened again by the run itself, which
    must not end for it while others give frames.

    Args:
        health: A file for the newest state, in memory (`/run`): it is written every second. None for no file.
        socket_path: Where systemd listens (``$NOTIFY_SOCKET``); empty without systemd.
        clock: To which the frames are stamped.
        sources: Those of the run, so that one is missed that never gives a frame; others are met by their results.
        limit_s: The longest that a camera may give no frame (``$WATCHDOG_USEC``); None goes by the source's own state.
        board: How the board fares, for the file.
    """

    def __init__(
        self,
        *,
        health: Path | None,
        socket_path: str,
        clock: Clock | None = None,
        sources: Sequence[SourceInfo] = (),
        limit_s: float | None = None,
        board: HealthMonitor | None = None,
    ) -> None:
        self._health = health
        self._socket_path = socket_path
        self._clock = clock or SystemClock()
        self._limit_ns = None if limit_s is None else round(limit_s * 1e9)
        self._board = board
        self._watched = {info.name: _Watched(live=info.live) for info in sources}
        self._started_ns = self._clock.now_ns()
        self._told_ns: int | None = None
        self._told_state: State | None = None

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Count a result; tell of it at most once a second, and at once when the state changes.

        Raises:
            BadInputError: If the file cannot be written any more.
        """
        now_ns = self._clock.now_ns()
        # A result that names no source is the first one's.
        name = result.source or next(iter(self._watched), "")
        self._watched.setdefault(name, _Watched()).take(result, now_ns)
        is_due = self._told_ns is None or now_ns - self._told_ns >= _PERIOD_NS
        if (is_due and result.label is not None) or self._told_state is not self._state(result):
            self._tell(result, now_ns)

    def close(self) -> None:
        """Say that the end was meant."""
        self._notify("STOPPING=1")

    def _state(self, result: LiveResult) -> State:
        """The run's: of several sources what must be told first."""
        states = {watched.state for watched in self._watched.values() if watched.live}
        return next((state for state in _BY_URGENCY if state in states), result.state)

    def _is_fed(self, result: LiveResult, now_ns: int) -> bool:
        on_duty = [watched for watched in self._watched.values() if watched.is_on_duty]
        return result.label is not None and all(watched.is_fresh(now_ns, self._limit_ns) for watched in on_duty)

    def _tell(self, result: LiveResult, now_ns: int) -> None:
        is_fed = self._is_fed(result, now_ns)
        if result.label is not None:
            self._told_ns = now_ns
        self._told_state = state = self._state(result)
        age_ms = self._age_ms(result, now_ns)
        age = "" if age_ms is None else f", {age_ms:.0f} ms old"
        frames = sum(watched.frames for watched in self._watched.values())
        status = f"STATUS={state.value}{self._culprits(state)}{age}, {frames} frames"
        # READY again is nothing to systemd, and saves knowing whether the first one arrived.
        self._notify(f"READY=1\nWATCHDOG=1\n{status}" if is_fed else status)
        if self._health is not None:
            _replace(self._health, self._record(result, now_ns, frames))

    def _culprits(self, state: State) -> str:
        names = [shown(name) for name, watched in self._watched.items() if watched.state is state]
        return f" ({', '.join(names)})" if len(self._watched) > 1 and state in _BY_URGENCY else ""

    def _age_ms(self, result: LiveResult, now_ns: int) -> float | None:
        """Of the newest frame of the camera that has shown none for longest; who reads the file goes by it."""
        ages = [
            (now_ns - watched.captured_ns) / 1e6
            for watched in self._watched.values()
            if watched.is_on_duty and watched.captured_ns is not None
        ]
        ages += [] if result.age_ms is None else [result.age_ms]
        return max(ages, default=None)

    def _record(self, result: LiveResult, now_ns: int, frames: int) -> str:
        board = None if self._board is None else self._board.read()
        hottest = None if board is None else board.hottest
        return json.dumps(
            {
                "schema": SCHEMA_VERSION,
                "pid": os.getpid(),
                "started_ns": self._started_ns,
                "at_ns": now_ns,
                "frames": frames,
                "state": self._state(result).value,
                "age_ms": self._age_ms(result, now_ns),
                "label": result.label,
                "sources": {
                    shown(name): {"state": watched.state and watched.state.value, "frames": watched.frames}
                    for name, watched in self._watched.items()
                },
                "celsius": None if hottest is None else hottest.value,
                "throttled": None if board is None else board.is_throttled,
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
        BadInputError: If the file's folder is not there, or nobody would hear anything.
    """
    path, socket_path = uri.removeprefix(SCHEME), os.environ.get("NOTIFY_SOCKET", "")
    if not path and not socket_path:
        raise BadInputError(
            f"{uri}: nobody listens: want systemd's socket ($NOTIFY_SOCKET, by Type=notify in the unit), or a file: "
            f"{SCHEME}/run/NAME/health.json"
        )
    if path and not Path(path).parent.is_dir():
        raise BadInputError(f"{uri}: want a file in a folder that exists, and that is in memory (/run)")
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    return Watchdog(
        health=Path(path) if path else None,
        socket_path=socket_path,
        sources=surroundings.sources or (surroundings.source,),
        limit_s=int(limit_us) / 1e6 if limit_us.isdecimal() else None,
        board=surroundings.health,
    )


def _replace(path: Path, text: str) -> None:
    # Not synced: it belongs in memory, and tells nothing after a power cut.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written any more: {error}") from error
