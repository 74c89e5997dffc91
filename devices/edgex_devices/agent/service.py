"""The seam to whatever keeps an app running on the board: systemd, a user's systemd, or the agent itself."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from edgex_devices.agent.config import AGENT
from edgex_devices.agent.store import Store
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import BadInputError, DeployError

# A service that has not ended by then is killed; systemd's unit says the same.
_STOP_S = 5.0
_COMMAND_S = 90


class Service(Protocol):
    """What a deploy asks of a service manager."""

    def start(self, release: Path) -> None:
        """Run the release that `current` names, with its unit; what ran before is ended."""
        ...

    def stop(self, *, until_boot: bool = False) -> None:
        """End it, and let it not begin again by itself, or not before the next boot."""
        ...

    def is_active(self) -> bool:
        """Whether it runs, or is about to."""
        ...

    def logs(self, lines: int) -> str:
        """The newest lines of its log."""
        ...


class Systemd:
    """The system's systemd."""

    _SCOPE = "system"
    _UNITS = Path("/etc/systemd/system")

    def __init__(self, store: Store, app: str) -> None:
        self._app = app
        self._unit = f"edgex-{app}.service"
        self.run_folder = Path("/run") / f"edgex-{app}"

    def start(self, release: Path) -> None:
        """Put the release's own unit in place, and restart it; whether it does its work is for `health` to see.

        Raises:
            DeployError: If systemd refuses.
        """
        self.put_unit(release)
        self._systemctl("enable", self._unit)
        self._systemctl("reset-failed", self._unit, is_optional=True)
        self._systemctl("restart", "--no-block", self._unit)

    def put_unit(self, release: Path) -> None:
        """Copy the release's unit to where systemd reads it, if it is another."""
        changed = _replace(release / self._SCOPE / self._unit, self._UNITS / self._unit)
        changed |= self._put_journal(release)
        if changed:
            self._systemctl("daemon-reload")

    def stop(self, *, until_boot: bool = False) -> None:
        """End it, and let it not begin at the next boot, unless that is meant."""
        self._systemctl(*(["stop"] if until_boot else ["disable", "--now"]), self._unit)

    def is_active(self) -> bool:
        """Whether it is active or starts."""
        done = self._systemctl("is-active", self._unit, is_optional=True)
        return done.stdout.strip() in ("active", "activating", "reloading")

    def logs(self, lines: int) -> str:
        """From its own journal."""
        command = ["journalctl", f"--namespace=edgex-{self._app}", "--no-pager", "--lines", str(lines)]
        return _command(command).stdout

    def _put_journal(self, release: Path) -> bool:
        source = release / self._SCOPE / f"journald-edgex-{self._app}.conf"
        return _replace(source, Path("/etc/systemd") / f"journald@edgex-{self._app}.conf")

    def _systemctl(self, *words: str, is_optional: bool = False) -> "subprocess.CompletedProcess[str]":
        done = _command(["systemctl", *words])
        if done.returncode and not is_optional:
            raise DeployError(f"systemctl {' '.join(words)}: {done.stderr.strip()}")
        return done


class UserSystemd(Systemd):
    """A user's systemd: nobody is root. `loginctl enable-linger` lets it run without somebody logged in."""

    _SCOPE = "user"

    def __init__(self, store: Store, app: str) -> None:
        super().__init__(store, app)
        # Whoever comes by ssh has no session of their own where PAM is not asked: the manager's folder is known anyway.
        self._runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
        self._UNITS = Path.home() / ".config" / "systemd" / "user"
        self.run_folder = self._runtime / f"edgex-{app}"

    def logs(self, lines: int) -> str:
        """From the user's journal; where there is none, what journalctl says of that."""
        done = _command(["journalctl", "--user", "--unit", self._unit, "--no-pager", "--lines", str(lines)])
        return done.stdout + done.stderr

    def _put_journal(self, release: Path) -> bool:
        return False

    def _systemctl(self, *words: str, is_optional: bool = False) -> "subprocess.CompletedProcess[str]":
        if not (self._runtime / "systemd").is_dir():
            name = pwd.getpwuid(os.getuid()).pw_name
            raise DeployError(
                f"want a systemd of the user {name}, none runs in {self._runtime}: sudo loginctl enable-linger {name}, "
                "once: then it runs from each boot on"
            )
        environment = {"XDG_RUNTIME_DIR": str(self._runtime)}
        done = _command(["systemctl", "--user", *words], environment)
        if done.returncode and not is_optional:
            raise DeployError(f"systemctl --user {' '.join(words)}: {done.stderr.strip()}")
        return done


class Process:
    """Where there is no systemd: the release's own agent supervises it (`current/agent.pyz run ROOT`)."""

    def __init__(self, store: Store, app: str) -> None:
        self._store = store
        self.run_folder = store.root / "run"
        self._pid_file = self.run_folder / "pid"
        self._log = self.run_folder / "log"

    def start(self, release: Path) -> None:
        """Start the supervisor anew."""
        self.stop()
        self.run_folder.mkdir(exist_ok=True)
        command = [sys.executable, "-I", str(release / AGENT), "run", str(self._store.root)]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        # The supervisor writes it too, but not before somebody may want to stop it. A full disk is for it to tell.
        with suppress(OSError):
            self._pid_file.write_text(str(process.pid), encoding="ascii")

    def stop(self, *, until_boot: bool = False) -> None:
        """End the supervisor and what it runs: asked first, killed after five seconds. What boots is not its matter."""
        pid = self._pid()
        if pid is None:
            return
        for number, patience_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
            _signal_group(pid, number)
            if _wait(lambda: self._pid() is None, patience_s):
                _signal_group(pid, signal.SIGKILL)
                return
        raise DeployError(f"process {pid} cannot be ended")

    def is_active(self) -> bool:
        """Whether the supervisor runs."""
        return self._pid() is not None

    def logs(self, lines: int) -> str:
        """From its file."""
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "".join(line + "\n" for line in text.splitlines()[-lines:])

    def _pid(self) -> int | None:
        """The supervisor's process; None if it has ended."""
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            # The disk was full when it was started.
            running = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
            return next(filter(self._is_ours, running), None)
        return pid if self._is_ours(pid) else None

    def _is_ours(self, pid: int) -> bool:
        """Whether that number is the supervisor's, and not another's by now."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2][:1]
        except OSError:
            return False
        return words[-3:-1] == [b"run", os.fsencode(self._store.root)] and state != "Z"


# What may be typed for --service → the class; each has the folder in memory that the app writes its health to.
SERVICES: dict[str, Callable[[Store, str], "Systemd | UserSystemd | Process"]] = {
    "systemd": Systemd,
    "systemd-user": UserSystemd,
    "process": Process,
}


def default_root(service: str, app: str) -> Path:
    """Where an app's folder is: units name it, so only `process` may be put elsewhere.

    Raises:
        BadInputError: If there is no such service.
    """
    if service not in SERVICES:
        raise BadInputError(f"service: want one of {', '.join(SERVICES)}, got {service!r}")
    if service == "systemd":
        return Path("/opt/edgex") / app
    return Path.home() / ".local" / "share" / ("edgex" if service == "systemd-user" else "edgex-process") / app


def _replace(source: Path, target: Path) -> bool:
    data = source.read_bytes()
    if target.is_file() and target.read_bytes() == data:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        file.write(data)
        os.fchmod(file.fileno(), 0o644)
    return True


def _command(command: list[str], extra: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    if shutil.which(command[0]) is None:
        raise DeployError(f"{command[0]} is not on this board: --service process runs without systemd")
    try:
        environment = {**os.environ, **(extra or {})}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeployError(f"{' '.join(command)}: no answer in {_COMMAND_S} s") from error


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _wait(condition: Callable[[], bool], patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
    return True
