"""What the installed release takes on this board, while nothing else of the app runs.

Its service is ended first: beside it, both would be slower, and neither figure anybody's. Whatever happens to this
process, it runs again afterwards: a guard in a session of its own hears when this process ends.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgex_devices.agent.config import AGENT, CONFIG, AppConfig
from edgex_devices.agent.health import HEALTH_FILE, await_first, raised_alarms
from edgex_devices.agent.install import release_interpreter, run_as_app
from edgex_devices.agent.launch import forget_starts
from edgex_devices.agent.service import Process, Systemd
from edgex_devices.agent.store import Reach, Store
from edgex_runtime.errors import DeployError

_ROUND_S = 600
_GUARD_S = 3600.0
_DONE = b"done"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """How.

    Attributes:
        rounds: How many processes, one after the other.
        seconds: For how long each measures.
        width: Of the frames.
        height: Of the frames.
        beside: Let the service run meanwhile.
    """

    rounds: int
    seconds: float
    width: int
    height: int
    beside: bool


def bench(
    store: Store, service: Systemd | Process, request: BenchRequest, *, as_nobody: bool, reach: Reach
) -> dict[str, Any]:
    """Measure the release that is served; the caller holds the store's lock.

    Returns:
        ``samples`` as `edgex_devices.tuning.measure` prints them, and what became of the service.

    Raises:
        DeployError: If nothing is installed, or it cannot be measured; the service runs again all the same.
    """
    name = store.linked()
    if name is None or not store.is_installed(name):
        raise DeployError(f"{store.root}: nothing is installed yet: edgex deploy")
    release = store.release(name)
    config = AppConfig.from_json((release / CONFIG).read_bytes())
    was_active = service.is_active()
    pauses, since_ns = was_active and not request.beside, 0
    before = raised_alarms(config.alarms)
    if pauses:
        with _paused(store, service, release, reach):
            samples = _measure(store, release, config, request, as_nobody=as_nobody, reach=reach)
            # What the health file says of an earlier start is older than this.
            since_ns = time.monotonic_ns()
    else:
        samples = _measure(store, release, config, request, as_nobody=as_nobody, reach=reach)
    return {
        "outcome": "benched",
        "release": name,
        "samples": samples,
        "was_active": was_active,
        "beside": was_active and request.beside,
        "throttled_before": before,
        "throttled_after": raised_alarms(config.alarms),
        "why": _serves_again(service, config, since_ns) if pauses else "",
    }


def resume(store: Store, service: Systemd | Process) -> None:
    """What the guard does: start the service, unless whoever had ended it says that this is done."""
    if sys.stdin.buffer.read() == _DONE:
        return
    # A deploy that is at work by now starts it itself, or leaves it for this.
    with store.lock(wait_s=_GUARD_S):
        kept = store.state().current
        if kept is not None and not service.is_active():
            forget_starts(service.run_folder)
            service.start(store.release(kept))


@contextmanager
def _paused(store: Store, service: Systemd | Process, release: Path, reach: Reach) -> Iterator[None]:
    guard = subprocess.Popen(
        [sys.executable, "-I", str(release / AGENT), "resume", str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    assert guard.stdin is not None
    try:
        service.stop(until_boot=True)
        reach("service-paused")
        yield
    finally:
        forget_starts(service.run_folder)
        service.start(release)
        reach("service-started")
        guard.stdin.write(_DONE)
        guard.stdin.close()
        guard.wait()


def _measure(
    store: Store, release: Path, config: AppConfig, request: BenchRequest, *, as_nobody: bool, reach: Reach
) -> list[object]:
    task = {"folder": str(release), "width": request.width, "height": request.height, "seconds": request.seconds}
    command = [*release_interpreter(store, release, config), "-m", "edgex_devices.tuning.measure", "--release"]
    samples = []
    # One cache for all rounds: the second starts as the service does, which has passed its self-test before.
    with tempfile.TemporaryDirectory(prefix="edgex-bench-") as cache:
        for turn in range(request.rounds):
            done = run_as_app(command, cache, text=json.dumps(task), timeout_s=_ROUND_S, as_nobody=as_nobody)
            samples.append(_sample(done))
            reach(f"measured-{turn + 1}-of-{request.rounds}")
    return samples


def _sample(done: "subprocess.CompletedProcess[str]") -> object:
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        sample, why = answer["sample"], answer["why"]
    except (ValueError, IndexError, KeyError, TypeError):
        said = " / ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.returncode}"
        raise DeployError(f"the release cannot be measured: {said}") from None
    if sample is None:
        raise DeployError(f"the release cannot be measured: {why}")
    return sample


def _serves_again(service: Systemd | Process, config: AppConfig, since_ns: int) -> str:
    """Why it does not; empty if frames flow."""
    try:
        await_first(service.run_folder / HEALTH_FILE, config.health, since_ns, service.is_active)
    except DeployError as error:
        return str(error)
    return ""
