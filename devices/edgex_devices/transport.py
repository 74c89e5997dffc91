"""One request to one board: the user's own ssh, with the agent sent along on its stdin; nothing has to be there."""

import json
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from edgex_devices.agent.wire import Request
from edgex_devices.agent_zip import agent_zip
from edgex_devices.ssh import SSH_FAILED, Ssh, unreachable
from edgex_runtime.errors import DeployError, DeviceUnavailableError

# Typed on the board: takes the agent from stdin into memory (a full disk has to be told of, too), and hands over to it.
_BOOT = """
import os, sys
def read(n):
    data = b""
    while len(data) < n:
        more = os.read(0, n - len(data))
        if not more:
            sys.exit("the connection ended early")
        data += more
    return data
if sys.version_info < (3, 10):
    print('{"event": "result", "outcome": "refused", "release": "", "serving": null, "kind": "DeployError", "why": '
          '"edgex wants Python 3.10 or newer on the board, its python3 is %d.%d: name another with --python"}'
          % sys.version_info[:2])
    sys.exit(1)
file = os.memfd_create("edgex-agent")
with open(file, "wb", closefd=False) as agent:
    agent.write(read(int(read(8))))
sys.path.insert(0, "/proc/self/fd/%d" % file)
from edgex_devices.agent.main import serve
sys.exit(serve())
"""
_CHUNK = 1 << 18
_LENGTH_DIGITS = 8
Step = Callable[[str], None]


class LinkLostError(DeviceUnavailableError):
    """The connection ended before the board had answered; what it had received is kept there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A board as ssh reaches it.

    Attributes:
        name: What is typed behind `ssh`.
        service: What keeps the app running there: ``systemd``, ``systemd-user`` or ``process``.
        root: With ``process``: the app's folder; empty for the default.
        python: The interpreter that runs the agent.
        sudo: Whether the agent runs by `sudo -n`; None: where the service is ``systemd`` and the user is not root.
    """

    name: str
    service: str = "systemd"
    root: str = ""
    python: str = "python3"
    sudo: bool | None = None

    @property
    def command(self) -> str:
        """What a POSIX shell on the board is given."""
        boot = f"{shlex.quote(self.python)} -I -c {shlex.quote(_BOOT)}"
        if self.sudo is None and self.service == "systemd":
            return f'$(test "$(id -u)" = 0 || echo sudo -n) {boot}'
        return f"sudo -n {boot}" if self.sudo else boot


def call(board: Board, request: Request, folder: Path, head: bytes, on_step: Step, ssh: Ssh) -> dict[str, Any]:
    """Ask a board's agent something.

    Args:
        board: Which.
        request: What.
        folder: Where the files are that it may ask for.
        head: What follows the request: a manifest and its signature.
        on_step: Told what the board is at.
        ssh: How it is reached.

    Returns:
        The agent's result.

    Raises:
        DeviceUnavailableError: If the board cannot be reached.
        LinkLostError: If the connection breaks.
        DeployError: If the agent itself fails.
    """
    text = json.dumps(asdict(request)).encode()
    agent = agent_zip()
    opening = b"".join([_length(agent), agent, _length(text), text, head])
    with _connect(board, ssh) as (process, stderr):
        feeder = _Feeder(process.stdin, opening)
        was_heard = False
        result: dict[str, Any] | None = None
        for line in process.stdout or ():
            event = _event(line)
            was_heard = was_heard or event is not None
            if event is None:
                continue
            if event["event"] == "need":
                feeder.send_files(folder, event["files"])
            elif event["event"] == "step":
                on_step(event["name"])
            else:
                result = event
        feeder.close()
        code = process.wait()
        if result is None:
            raise _failure(board, ssh, code, stderr(), was_heard=was_heard)
    return result


class _Feeder:
    """Writes to the board's stdin while another thread reads what it says; a board that has left is no error here."""

    def __init__(self, stdin: IO[bytes] | None, opening: bytes) -> None:
        assert stdin is not None
        self._stdin = stdin
        self._threads: list[threading.Thread] = []
        self._start(lambda: self._stdin.write(opening))

    def send_files(self, folder: Path, files: list[tuple[str, int]]) -> None:
        self._start(lambda: self._write_files(folder, files))

    def close(self) -> None:
        for thread in self._threads:
            thread.join()
        try:
            self._stdin.close()
        except OSError:
            return

    def _start(self, work: Callable[[], object]) -> None:
        before = list(self._threads)

        def run() -> None:
            for thread in before:
                thread.join()
            try:
                work()
                self._stdin.flush()
            except (OSError, ValueError):
                return

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def _write_files(self, folder: Path, files: list[tuple[str, int]]) -> None:
        for name, here in files:
            with (folder / name).open("rb") as file:
                file.seek(here)
                while chunk := file.read(_CHUNK):
                    self._stdin.write(chunk)


@contextmanager
def _connect(board: Board, ssh: Ssh) -> "Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]":
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                ssh.command(board.name, board.command, may_ask=False),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C is for edgex, which closes its links; an ssh that ended by itself would look like a lost one.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ssh.missing() from error

        def said() -> str:
            errors.seek(0)
            return errors.read().decode(errors="replace").strip()

        try:
            with ssh.links.hold(process):
                yield process, said
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


def _event(line: bytes) -> dict[str, Any] | None:
    """What the agent said; None for what a login script printed."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _failure(
    board: Board, ssh: Ssh, code: int, stderr: str, *, was_heard: bool
) -> DeployError | DeviceUnavailableError:
    why = " / ".join(stderr.splitlines()[-3:]) or f"exit code {code}"
    if code == SSH_FAILED and was_heard:
        return LinkLostError(f"{board.name}: the connection was lost: {why}")
    if code == SSH_FAILED:
        return unreachable(board.name, stderr, config=ssh.config)
    if code < 0 or was_heard:
        return LinkLostError(f"{board.name}: the agent ended before it had answered: {why}")
    return DeployError(f"{board.name}: the agent does not run there: {why}")


def _length(data: bytes) -> bytes:
    return f"{len(data):0{_LENGTH_DIGITS}}".encode()
