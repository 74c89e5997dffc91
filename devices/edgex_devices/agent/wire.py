"""What host and agent say to each other: JSON lines to the host; to the agent a request, and the bytes it asks for."""

import json
import os
import select
import signal
from dataclasses import dataclass, fields
from typing import Any

from edgex_runtime.errors import BundleError, DeployError, EdgexError

PROTOCOL = 1
# A link that is silent for so long is down: the lock must not wait for TCP to find that out.
SILENCE_S = 60.0


def kind_of(error: Exception) -> str:
    """The class of an error as the host knows it: the nearest one in the tree of `edgex_runtime.errors`."""
    kinds = [kind for kind in type(error).__mro__ if issubclass(kind, EdgexError)]
    return next((kind.__name__ for kind in kinds if kind.__module__ == EdgexError.__module__), DeployError.__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the host wants.

    Attributes:
        action: ``deploy``, ``plan``, ``status``, ``rollback``, ``logs`` or ``bench``.
        app: Whose.
        service: A name of `service.SERVICES`.
        root: The app's folder; empty for the service's own.
        public: The line of the key that signs: a board without any trusts it from now on.
        trust_key: Whether a board that trusts others trusts this one too.
        wait_s: How long to wait for another deploy.
        lines: Of the log.
        verify: Whether the status says which installed files are not what was installed.
        rounds: Of the bench; this and the next four are as in `bench.BenchRequest`.
        seconds: Of each round.
        width: Of the frames.
        height: Of the frames.
        beside: Whether the service runs meanwhile.
        manifest_bytes: How much of what follows is the manifest.
        signature_bytes: And then the signature.
        die_at: For tests: the step at which the agent is killed, as a power cut would.
        protocol: Of this exchange.
    """

    action: str
    app: str
    service: str = "systemd"
    root: str = ""
    public: str = ""
    trust_key: bool = False
    wait_s: float = 0.0
    lines: int = 50
    verify: bool = False
    rounds: int = 3
    seconds: float = 2.0
    width: int = 1280
    height: int = 720
    beside: bool = False
    manifest_bytes: int = 0
    signature_bytes: int = 0
    die_at: str = ""
    protocol: int = PROTOCOL

    @classmethod
    def from_json(cls, text: bytes) -> "Request":
        """Parse; host and agent are of the same edgex, so nothing is forgiven.

        Raises:
            BundleError: If it is none.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            if set(data) != {item.name for item in fields(cls)} or data["protocol"] != PROTOCOL:
                raise BundleError("the agent on the board is of another edgex than the host's")
            return cls(**data)
        except (ValueError, TypeError) as error:
            raise BundleError(f"the host's request cannot be read: {error}") from error


class Wire:
    """The agent's end: descriptors 0 and 1."""

    def __init__(self) -> None:
        # The host may leave at any time; a deploy that has all it needs goes on without it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._is_heard = True

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; none when the host has left.

        Raises:
            DeployError: If nothing comes for a minute.
        """
        ready, _, _ = select.select([0], [], [], SILENCE_S)
        if not ready:
            raise DeployError(f"nothing came from the host for {SILENCE_S:g} s; the next deploy goes on from there")
        return os.read(0, count)

    def read_exactly(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            DeployError: If the host leaves before.
        """
        data = b""
        while len(data) < count:
            chunk = self.read(count - len(data))
            if not chunk:
                raise DeployError("the connection ended before the request was complete")
            data += chunk
        return data

    def tell(self, event: str, **what: object) -> None:
        """Say something, if somebody listens."""
        if not self._is_heard:
            return
        try:
            os.write(1, json.dumps({"event": event, **what}).encode() + b"\n")
        except OSError:
            self._is_heard = False
