"""How an app runs on its board: `config.json` in the bundle."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from edgex_runtime.errors import BundleError

SCHEMA_VERSION = 1
CONFIG = "config.json"
AGENT = "agent.pyz"
PROOF = "proof.json"
REQUIREMENTS = "requirements.txt"
WHEELHOUSE = "wheelhouse"
INSTALLER = "installer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Where a board says that it throttles: a file or a command, whose last number is 0 when all is well."""

    file: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a new release must show before it is kept.

    Attributes:
        start_s: Longest time from its start to its first frame.
        window_s: How long frames must flow then.
        max_age_ms: Oldest that a classified frame may be.
        watchdog_s: Longest time without a frame, now and ever after.
    """

    start_s: float = 180.0
    window_s: float = 20.0
    max_age_ms: float = 2000.0
    watchdog_s: float = 30.0

    def __post_init__(self) -> None:
        if not all(value > 0 for value in (self.start_s, self.window_s, self.max_age_ms, self.watchdog_s)):
            raise BundleError(f"health: want times above 0, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppConfig:
    """How it runs.

    Attributes:
        model: The model file's path in the bundle.
        source: What `edgex live` opens.
        sinks: Where results go, beside the watchdog.
        spec: The path of the contract of a model that carries none.
        engine: None for the one of the file's suffix.
        device: For the engine.
        threads: For the engine; None leaves it to the engine.
        python: The board's Python that the environment is made with (``3.11``), or, with `environment` ``board``, the
            interpreter (``/opt/jetson/bin/python``) in whose environment edgex stands already.
        environment: Whether the bundle's wheels are installed, or the board's own environment serves.
        health: What a new release must show.
        alarms: Where the board says that it throttles.
        schema: Version of this schema.
    """

    model: str
    source: str
    python: str
    sinks: tuple[str, ...] = ()
    spec: str | None = None
    engine: str | None = None
    device: str = "auto"
    threads: int | None = None
    environment: Literal["wheelhouse", "board"] = "wheelhouse"
    health: Health = field(default_factory=Health)
    alarms: tuple[Alarm, ...] = ()
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema != SCHEMA_VERSION:
            raise BundleError(f"{CONFIG}: this edgex reads schema {SCHEMA_VERSION}, this one is of {self.schema!r}")

    def live_arguments(self, release: str, health_file: str) -> list[str]:
        """What is typed behind ``python -m``, in a release's folder.

        Args:
            release: The folder.
            health_file: What the watchdog writes.
        """
        arguments = ["edgex", "live", f"{release}/{self.model}", self.source, "--out", f"watchdog://{health_file}"]
        for sink in self.sinks:
            arguments += ["--out", sink]
        options = {"spec": self.spec and f"{release}/{self.spec}", "engine": self.engine, "device": self.device}
        for name, value in {**options, "threads": self.threads}.items():
            arguments += [f"--{name}", str(value)] if value is not None else []
        return arguments

    def to_json(self) -> bytes:
        """Serialise; the same config always gives the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> "AppConfig":
        """Parse.

        Raises:
            BundleError: If it is not of this schema.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            health = Health(**data.pop("health"))
            alarms = tuple(Alarm(**alarm) for alarm in data.pop("alarms"))
            return cls(**{**data, "sinks": tuple(data["sinks"])}, health=health, alarms=alarms)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BundleError(f"{CONFIG}: it cannot be read: {error}") from error
