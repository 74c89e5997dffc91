"""The user's own OpenSSH: how a host is reached, which connections are open, and what is said where one fails."""

import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgex_runtime.errors import DeviceUnavailableError, MissingExtraError

# What ssh itself ends with; any other code is the far program's.
SSH_FAILED = 255
# A link that is gone is noticed within 15 s; what the user's configuration says of anything else holds.
_OPTIONS = {"ConnectTimeout": "15", "ServerAliveInterval": "5", "ServerAliveCountMax": "3"}


class Links:
    """The connections that are open; `close` ends them all, and lets none be opened any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[subprocess.Popen[bytes]] = set()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called: a link that ends is not to be taken up again."""
        return self._is_closed

    def close(self) -> None:
        """End all of them, from whichever thread."""
        with self._lock:
            self._is_closed = True
            for process in self._open:
                process.kill()

    @contextmanager
    def hold(self, process: "subprocess.Popen[bytes]") -> Iterator[None]:
        """Count a connection as open for as long as the block lasts."""
        with self._lock:
            self._open.add(process)
            if self._is_closed:
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How hosts are reached.

    Attributes:
        program: Takes OpenSSH's options.
        config: Instead of the user's own.
        links: What is open by it.
    """

    program: str = "ssh"
    config: Path | None = None
    links: Links = field(default_factory=Links, compare=False)

    def command(self, host: str, remote: str, *, may_ask: bool) -> list[str]:
        """What runs a line of a POSIX shell there.

        Args:
            host: What is typed behind `ssh`.
            remote: The line.
            may_ask: Whether ssh may ask on the terminal for a password: for one host, not for a fleet.
        """
        settings = _OPTIONS if may_ask else {"BatchMode": "yes", **_OPTIONS}
        options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        own = ["-F", str(self.config)] if self.config else []
        return [self.program, "-T", *own, *options, "--", host, remote]

    def missing(self) -> MissingExtraError:
        """What to say where the program is not here."""
        return MissingExtraError(f"{self.program} is not here: sudo apt install openssh-client")


def unreachable(host: str, stderr: str, *, config: Path | None = None) -> DeviceUnavailableError:
    """What to say of a host that ssh does not reach, in ssh's own last words."""
    said = stderr.strip().splitlines()
    own = f"-F {shlex.quote(str(config))} " if config else ""
    return DeviceUnavailableError(
        f"{host}: ssh cannot reach it: {said[-1] if said else 'it says nothing'}: try it yourself: "
        f"ssh {own}{shlex.quote(host)}"
    )
