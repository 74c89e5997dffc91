"""Whether a release that was just started does its work: frames flow, they are fresh, the board does not throttle."""

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgex_devices.agent.config import Alarm, Health
from edgex_runtime.errors import DeployError

HEALTH_FILE = "health.json"
_POLL_S = 0.1
# The watchdog writes once a second while frames come; a second more is no alarm yet.
_SILENCE_S = 2.0
_ALARM_S = 5
# vcgencmd's bits 0 to 3 are what happens now, 16 to 19 what has ever happened since the boot.
_NOW_BITS = 0xF
_MAX_RECORD_BYTES = 1 << 16
_RECORD: dict[str, tuple[type, ...]] = {
    "pid": (int,),
    "started_ns": (int,),
    "at_ns": (int,),
    "frames": (int,),
    "state": (str,),
    "age_ms": (int, float, type(None)),
    "label": (str, type(None)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was seen: frames in so many seconds, and the oldest of them."""

    frames: int = 0
    seconds: float = 0.0
    max_age_ms: float = 0.0
    label: str = ""


def watch(
    file: Path, health: Health, since_ns: int, is_active: Callable[[], bool], alarms: tuple[Alarm, ...]
) -> Figures:
    """Watch a release from its start to the end of its window.

    Args:
        file: What the release's watchdog writes.
        health: What it must show.
        since_ns: When it was started (CLOCK_MONOTONIC): what is older is of the one before.
        is_active: Whether the service runs.
        alarms: Where the board says that it throttles, and that it did not before.

    Raises:
        DeployError: If it falls short; it says in what.
    """
    first = await_first(file, health, since_ns, is_active)
    end = time.monotonic() + health.window_s
    oldest, last = 0.0, first
    # However short the window is, frames have to be seen in it; a silence ends the wait, too.
    while time.monotonic() < end or last["frames"] <= first["frames"]:
        time.sleep(_POLL_S)
        last = read_health(file) or last
        _check(last, first, health, is_active)
        oldest = max(oldest, last["age_ms"] or 0.0)
    raised = raised_alarms(alarms)
    # What the app itself reads covers boards whose profile names no alarm; what was so before is not its doing.
    if first.get("throttled") is False and last.get("throttled") is True:
        raised.append("by what the app reads of it")
    if raised:
        raise DeployError(f"the board throttles since the release runs ({', '.join(raised)}): cooling, or power?")
    seconds = (last["at_ns"] - first["at_ns"]) / 1e9
    return Figures(
        frames=last["frames"] - first["frames"], seconds=seconds, max_age_ms=oldest, label=last["label"] or ""
    )


def await_first(file: Path, health: Health, since_ns: int, is_active: Callable[[], bool]) -> dict[str, Any]:
    """Wait for a release's first frame.

    Args:
        file: What its watchdog writes.
        health: Says how long.
        since_ns: When it was started (CLOCK_MONOTONIC).
        is_active: Whether the service runs.

    Raises:
        DeployError: If there is none in time.
    """
    until = time.monotonic() + health.start_s
    while time.monotonic() < until:
        record = read_health(file)
        if record is not None and record["started_ns"] >= since_ns and record["frames"] > 0:
            return record
        time.sleep(_POLL_S)
    what = "it runs" if is_active() else "it does not run"
    raise DeployError(f"no frame was classified within {health.start_s:g} s of the start ({what}): edgex deploy logs")


def read_health(file: Path) -> dict[str, Any] | None:
    """What the watchdog wrote last; None where it has not.

    The app owns the file, and the agent may be root: neither a pipe nor a link nor anything else that an app which
    was broken into puts there may hold up a deploy or end it.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            record: dict[str, Any] = json.loads(stream.read(_MAX_RECORD_BYTES))
        return record if all(isinstance(record[name], kinds) for name, kinds in _RECORD.items()) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def raised_alarms(alarms: tuple[Alarm, ...]) -> list[str]:
    """The alarms that are raised now; one that cannot be read is none."""
    return [alarm.file or alarm.command for alarm in alarms if any(number & _NOW_BITS for number in _numbers(alarm))]


def _check(record: dict[str, Any], first: dict[str, Any], health: Health, is_active: Callable[[], bool]) -> None:
    if record["pid"] != first["pid"] or not is_active():
        raise DeployError("the service ended and was started again within the window: edgex deploy logs")
    silent_s = (time.monotonic_ns() - record["at_ns"]) / 1e9
    if silent_s > _SILENCE_S + health.max_age_ms / 1e3:
        raise DeployError(f"the frame loop hangs: nothing was heard of it for {silent_s:.0f} s")
    if record["state"] != "LIVE":
        raise DeployError(f"the source is {record['state']}, want LIVE")
    if (record["age_ms"] or 0.0) > health.max_age_ms:
        raise DeployError(f"a frame was {record['age_ms']:.0f} ms old, {health.max_age_ms:g} are allowed")


def _numbers(alarm: Alarm) -> list[int]:
    if alarm.command:
        try:
            done = subprocess.run(
                shlex.split(alarm.command), capture_output=True, text=True, timeout=_ALARM_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
        texts = [done.stdout]
    else:
        texts = [_text(path) for path in Path("/").glob(alarm.file.lstrip("/"))]
    found = [re.findall(r"0x[0-9a-fA-F]+|\d+", text) for text in texts]
    return [int(numbers[-1], 16 if "x" in numbers[-1] else 10) for numbers in found if numbers]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
