"""The table of sinks: what a user types after `--out` → the function that opens it, imported when it is asked for."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TextIO

from edgex_runtime.address import shown
from edgex_runtime.control import Control, ModelChoice
from edgex_runtime.errors import BadInputError, MissingExtraError
from edgex_runtime.health import HealthMonitor
from edgex_runtime.sinks.queued import QueuedSink, QueueOptions
from edgex_runtime.sinks.sink import Sink
from edgex_runtime.sources.options import nearest
from edgex_runtime.sources.source import SourceInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a sink may need beside its URI.

    Attributes:
        source: The first source whose results it gets.
        sources: All of them.
        control: The run's switches, for a sink with buttons.
        models: What classifies, for a sink that shows contracts or offers a choice; None where nobody said.
        queues: The run's sinks as `open_queued` opens them, for a sink that tells how the others fare.
        health: How the board fares; one for all, so that each sink hears of the same slowing down.
        stdout: The process's streams.
        stderr: See `stdout`.
    """

    source: SourceInfo
    sources: tuple[SourceInfo, ...] = ()
    control: Control = field(default_factory=Control)
    models: ModelChoice | None = None
    queues: list[QueuedSink] = field(default_factory=list)
    health: HealthMonitor = field(default_factory=HealthMonitor)
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)


Opener = Callable[[str, Surroundings], Sink]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of sink.

    Attributes:
        opener: `module:function`, called with the URI and the surroundings.
        lossless: Whether it gets every result of a source that can wait; otherwise it never holds anybody up.
        pictures: Whether it looks at the pictures.
        extra: What to install for it: `edgex[extra]`.
        vendors: The packages that this brings, and whose absence means that it is not installed.
    """

    opener: str
    lossless: bool
    pictures: bool
    extra: str = ""
    vendors: tuple[str, ...] = ()


JSONL = Row(opener="edgex_runtime.sinks.jsonl:open_jsonl", lossless=True, pictures=False)
VIDEO = Row(opener="edgex_runtime.sinks.video:open_video", lossless=True, pictures=True)
MQTT = Row(opener="edgex_runtime.sinks.mqtt:open_mqtt", lossless=False, pictures=False, extra="mqtt", vendors=("paho",))
METRICS = Row(
    opener="edgex_runtime.sinks.metrics:open_metrics",
    lossless=False,
    pictures=False,
    extra="metrics",
    vendors=("prometheus_client",),
)
WEBHOOK = Row(opener="edgex_runtime.sinks.webhook:open_webhook", lossless=False, pictures=False)
CONSOLE = Row(
    opener="edgex_runtime.console.sink:open_console",
    lossless=False,
    pictures=True,
    extra="console",
    vendors=("websockets",),
)
DISPLAY = Row(opener="edgex_runtime.sinks.display:open_display", lossless=False, pictures=True)

TERMINAL = "terminal://"
# By scheme, then by the file's suffix.
SINKS = {
    "-": JSONL,
    "terminal": Row(opener="edgex_runtime.sinks.terminal:open_terminal", lossless=True, pictures=False),
    ".jsonl": JSONL,
    ".mp4": VIDEO,
    ".webm": VIDEO,
    ".avi": VIDEO,
    "display": DISPLAY,
    "mqtt": MQTT,
    "mqtts": MQTT,
    "metrics": METRICS,
    "webhook+http": WEBHOOK,
    "webhook+https": WEBHOOK,
    "http": CONSOLE,
    "https": CONSOLE,
    "watchdog": Row(opener="edgex_runtime.watchdog:open_watchdog", lossless=False, pictures=False),
}
# Third parties add a scheme ("acme" opens `acme://…`) or a suffix (".acme") by an entry point of this group.
ENTRY_POINT_GROUP = "edgex.sinks"
# What is not known of theirs: the careful choice is what a sink without a queue would do.
PLUGIN = Row(opener="", lossless=True, pictures=True)

PICTURES_HELD = 4
"""A picture of 12 megapixels takes 36 MB."""
RESULTS_HELD = 256


def open_sink(uri: str, surroundings: Surroundings) -> Sink:
    """Open a sink: ``terminal://``, ``-`` (JSON lines on stdout), ``out.jsonl``, ``out.mp4``, ``http://127.0.0.1:8080``.

    Raises:
        BadInputError: If this version knows no such sink, or the file cannot be made.
        MissingExtraError: If the packages that it needs are not installed.
    """
    key = _key(uri)
    opener = _load(key, SINKS[key]) if key in SINKS else _load_plugin(key, uri)
    return opener(uri, surroundings)


def open_queued(uri: str, surroundings: Surroundings) -> QueuedSink:
    """Open a sink behind a queue and a thread of its own; `surroundings.queues` gets it too.

    A lossless sink makes the caller wait where all the sources can; elsewhere a full queue lets old results go.

    Raises:
        BadInputError: As `open_sink`.
        MissingExtraError: As `open_sink`.
    """
    key = _key(uri)
    row = SINKS.get(key, PLUGIN)
    live = any(source.live for source in surroundings.sources or (surroundings.source,))
    options = QueueOptions(
        capacity=PICTURES_HELD if row.pictures else RESULTS_HELD,
        waits=row.lossless and not live,
        pictures=row.pictures,
        # A file that is not finished cannot be used, and a disk answers in the end.
        patient=row.lossless and key.startswith("."),
        urgent=lambda: surroundings.control.is_stopped,
    )
    queued = QueuedSink(open_sink(uri, surroundings), name=shown(uri), options=options)
    surroundings.queues.append(queued)
    return queued


def _load(name: str, row: Row) -> Opener:
    module, _, attribute = row.opener.partition(":")
    try:
        opener: Opener = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        # Only the vendor's absence: a module of ours that is not there is a bug to be seen.
        if error.name is None or error.name.partition(".")[0] not in row.vendors:
            raise
        raise MissingExtraError(f"sink {name!r} is not installed: pip install 'edgex[{row.extra}]'") from error
    return opener


def _load_plugin(key: str, uri: str) -> Opener:
    # Imported here: it brings 2 MB of modules, which a board that runs what we ship never needs.
    from importlib.metadata import entry_points

    plugins = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if key in plugins:
        loaded: Opener = plugins[key].load()
        return loaded
    near = nearest(key, {**SINKS, **plugins})
    raise BadInputError(f"{shown(uri) or repr(uri)}: unknown kind of sink {key!r}; {near}")


def _key(uri: str) -> str:
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", uri)
    return uri if uri == "-" else scheme[1] if scheme else Path(uri).suffix.lower()
