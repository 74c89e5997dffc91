"""Start what `current` names: once, for systemd (`exec`), or again and again where nothing else does (`run`)."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from edgex_devices.agent.config import CONFIG, AppConfig
from edgex_devices.agent.health import HEALTH_FILE, read_health
from edgex_devices.agent.install import clean_environment, release_interpreter
from edgex_devices.agent.manifest import MANIFEST, Manifest
from edgex_devices.agent.store import Store
from edgex_runtime.errors import DeployError

MAX_BACKOFF_S = 60.0
_STARTS = "starts.json"
_STOP_S = 5.0
_MAX_LOG_BYTES = 1 << 20
_POLL_S = 0.2


def exec_current(store: Store, run_folder: Path) -> None:
    """Become the release that `current` names; this does not return.

    Raises:
        DeployError: If there is none.
    """
    command, _ = _command(store, run_folder)
    time.sleep(_backoff_s(run_folder))
    # What the service manager set is kept: its socket, and the app's folders.
    os.execve(command[0], command, {**os.environ, "PYTHONSAFEPATH": "1"})


def supervise(store: Store, run_folder: Path) -> int:
    """Keep the release that `current` names running: restarts with backoff, and a watchdog; until SIGTERM.

    Returns:
        The exit code.
    """
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopping.append(received))
    run_folder.mkdir(exist_ok=True)
    pid_file, pid = run_folder / "pid", str(os.getpid())
    # Whoever started it wrote it already: a full disk would only take away what is there.
    if not pid_file.is_file() or pid_file.read_text(encoding="ascii") != pid:
        pid_file.write_text(pid, encoding="ascii")
    while not stopping:
        command, config = _command(store, run_folder)
        _pause(_backoff_s(run_folder), stopping)
        if stopping:
            break
        started_ns = time.monotonic_ns()
        child = subprocess.Popen(
            command, cwd="/", env=clean_environment({"EDGEX_CACHE_DIR": str(store.root / "cache")})
        )
        _watch(child, config, run_folder, started_ns, stopping)
    return 0


def _command(store: Store, run_folder: Path) -> tuple[list[str], AppConfig]:
    name = store.linked()
    if name is None or not store.is_installed(name):
        raise DeployError(f"{store.root}: nothing is installed yet: edgex deploy")
    # By its own name, not through `current`: a switch must not change what a running process reads.
    release = store.release(name)
    config = AppConfig.from_json((release / CONFIG).read_bytes())
    python = release_interpreter(store, release, config)
    health = str(run_folder / HEALTH_FILE)
    return [*python, "-m", *config.live_arguments(str(release), health)], config


def app_of(store: Store) -> str:
    """The name of the app whose folder this is."""
    name = store.linked() or store.state().current
    if name is None:
        raise DeployError(f"{store.root}: nothing is installed yet: edgex deploy")
    return Manifest.from_json((store.release(name) / MANIFEST).read_bytes()).app


def _watch(
    child: "subprocess.Popen[bytes]", config: AppConfig, run_folder: Path, started_ns: int, stopping: list[int]
) -> None:
    """Wait for the process's end; bring it about when asked to, or when no frame comes any more."""
    while child.poll() is None:
        _pause(_POLL_S, stopping)
        _trim(run_folder / "log")
        if stopping or _is_starved(config, run_folder / HEALTH_FILE, started_ns):
            child.terminate() if stopping else child.kill()
            try:
                child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _is_starved(config: AppConfig, file: Path, started_ns: int) -> bool:
    record, now_ns = read_health(file), time.monotonic_ns()
    if record is None or record["started_ns"] < started_ns or not record["frames"]:
        return now_ns - started_ns > config.health.start_s * 1e9
    # What only tells a state comes too when the camera is gone: the age is of the newest frame.
    age_ns = now_ns - record["at_ns"] + (record["age_ms"] or 0.0) * 1e6
    return bool(age_ns > config.health.watchdog_s * 1e9)


def forget_starts(run_folder: Path) -> None:
    """Let the next start wait for nothing: it is meant."""
    (run_folder / _STARTS).unlink(missing_ok=True)


def _backoff_s(run_folder: Path) -> float:
    """How long to wait: 0 s, 1 s, 2 s, … 60 s for starts in quick succession; kept in memory, so not across boots."""
    file, now_s = run_folder / _STARTS, time.monotonic()
    try:
        last_s, count = json.loads(file.read_bytes())
    except (OSError, ValueError):
        last_s, count = 0.0, 0
    wait_s = min(2.0 ** (count - 1), MAX_BACKOFF_S) if count else 0.0
    # It ran for a while: whatever it is now, it is something new.
    if not last_s or now_s - last_s > 2 * MAX_BACKOFF_S:
        count, wait_s = 0, 0.0
    # On a full disk it waits for nothing, and runs.
    with suppress(OSError):
        file.write_text(json.dumps([now_s + wait_s, count + 1]), encoding="ascii")
    return wait_s


def _pause(seconds: float, stopping: list[int]) -> None:
    until = time.monotonic() + seconds
    while not stopping and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _POLL_S))


def _trim(log: Path) -> None:
    """Keep the log below a size; it is the file that this process's output is appended to."""
    if log.is_file() and log.stat().st_size > _MAX_LOG_BYTES:
        os.truncate(log, 0)
        sys.stderr.write("the log was cut\n")
