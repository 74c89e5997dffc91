"""Where the probe runs: this machine, or a host over the user's own OpenSSH and its configuration."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from edgex_devices.facts import Facts
from edgex_devices.ssh import SSH_FAILED, Ssh, unreachable
from edgex_runtime.errors import BadInputError, DeviceUnavailableError, SpecError
from edgex_runtime.schema import from_plain

_PROBE = Path(__file__).with_name("probe.py")
_PROBE_TIMEOUT_S = 60
_NOT_FOUND = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine to ask.

    Attributes:
        name: As `ssh` takes it, ``pi@kitchen``; None is this machine.
        python: There: of the environment that edgex is in. None is `sys.executable` here, ``python3`` elsewhere.
        ssh_config: An OpenSSH configuration instead of the user's own (``ssh -F``).
    """

    name: str | None = None
    python: str | None = None
    ssh_config: Path | None = None

    @property
    def title(self) -> str:
        """For people."""
        return self.name or "this machine"

    def command(self, *arguments: str) -> list[str]:
        """What runs the host's Python with arguments."""
        if self.name is None:
            return [self.python or sys.executable, *arguments]
        # The far shell splits what it gets; the path of a Python may begin with ~.
        remote = " ".join([self.python or "python3", *map(quote, arguments)])
        return self._ssh.command(self.name, remote, may_ask=True)

    @property
    def _ssh(self) -> Ssh:
        return Ssh(config=self.ssh_config)

    def run(self, *arguments: str, stdin: str = "", timeout_s: float = _PROBE_TIMEOUT_S) -> tuple[int, str, str]:
        """Run the host's Python.

        Returns:
            Exit code, stdout, stderr.

        Raises:
            DeviceUnavailableError: If it cannot be reached, or does not answer in time.
            BadInputError: If there is no such Python.
            MissingExtraError: If there is no ssh here.
        """
        command = self.command(*arguments)
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
        except FileNotFoundError as error:
            if self.name is not None:
                raise self._ssh.missing() from error
            raise BadInputError(f"{command[0]} is not installed here: name another one with --python") from error
        except subprocess.TimeoutExpired as error:
            raise DeviceUnavailableError(f"{self.title}: no answer within {timeout_s:.0f} s") from error
        if self.name is not None and done.returncode == SSH_FAILED:
            raise unreachable(self.name, done.stderr, config=self.ssh_config)
        if done.returncode == _NOT_FOUND:
            raise BadInputError(
                f"{self.title}: there is no {self.python or 'python3'}: sudo apt install python3 there, or name one "
                "with --python"
            )
        return done.returncode, done.stdout, done.stderr


def probe(host: Host) -> tuple[Facts, float]:
    """Ask a machine for its facts.

    Returns:
        The facts, and this machine's clock at that moment in seconds since 1970.

    Raises:
        DeviceUnavailableError: As `Host.run`.
        BadInputError: As `Host.run`, or if the script ends with an error there.
        SpecError: If what comes back are no facts.
    """
    before = time.time()
    code, stdout, stderr = host.run("-", stdin=_PROBE.read_text(encoding="utf-8"))
    if code:
        raise BadInputError(
            f"{host.title}: the probe ended with exit code {code}: {_last_line(stderr)}; it wants Python 3.6 or newer"
        )
    return parse_facts(stdout, where=host.title), (before + time.time()) / 2


def parse_facts(text: str, *, where: str) -> Facts:
    """Read what the probe prints, after whatever a login has printed before it.

    Raises:
        SpecError: If there are no facts in it.
    """
    start = text.find("{\n")
    try:
        data = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        data = None
    if data is None:
        raise SpecError(f"{where}: want the probe's facts as JSON, got {text[:80]!r}")
    return from_plain(Facts, data, where=f"facts of {where}")


def _last_line(text: str) -> str:
    lines: Sequence[str] = text.strip().splitlines()
    return lines[-1] if lines else "it says nothing"
