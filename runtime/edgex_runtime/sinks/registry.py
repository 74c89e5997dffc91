"""The table of sinks: what a user types after `--out` → the function that opens it, imported when it is asked for."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TextIO

from edgex_runtime.control import Control, ModelChoice
from edgex_runtime.errors import BadInputError
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
        stdout: The process's streams.
        stderr: See `stdout`.
    """

    source: SourceInfo
    sources: tuple[SourceInfo, ...] = ()
    control: Control = field(default_factory=Control)
    models: ModelChoice | None = None
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)


Opener = Callable[[str, Surroundings], Sink]

TERMINAL = "terminal://"
# By scheme, then by the file's suffix; each row is `module:function`, called with the URI and the surroundings.
SINKS = {
    "-": "edgex_runtime.sinks.jsonl:open_jsonl",
    "terminal": "edgex_runtime.sinks.terminal:open_terminal",
    "http": "edgex_runtime.console.sink:open_console",
    "https": "edgex_runtime.console.sink:open_console",
    ".jsonl": "edgex_runtime.sinks.jsonl:open_jsonl",
    ".mp4": "edgex_runtime.sinks.video:open_video",
    ".webm": "edgex_runtime.sinks.video:open_video",
    ".avi": "edgex_runtime.sinks.video:open_video",
}
# Third parties add a scheme ("acme" opens `acme://…`) or a suffix (".acme") by an entry point of this group.
ENTRY_POINT_GROUP = "edgex.sinks"
# Schemes that the design names and this version does not have.
PLANNED = ("display", "mqtt", "metrics")


def open_sink(uri: str, surroundings: Surroundings) -> Sink:
    """Open a sink: ``terminal://``, ``-`` (JSON lines on stdout), ``out.jsonl``, ``out.mp4``, ``http://127.0.0.1:8080``.

    Raises:
        BadInputError: If this version knows no such sink, or the file cannot be made.
    """
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", uri)
    key = uri if uri == "-" else scheme[1] if scheme else Path(uri).suffix.lower()
    plugins = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if key in SINKS:
        module, _, name = SINKS[key].partition(":")
        opener: Opener = getattr(import_module(module), name)
    elif key in plugins:
        opener = plugins[key].load()
    elif key in PLANNED:
        raise BadInputError(f"{uri}: {key} sinks are not in this version of edgex, which writes {', '.join(SINKS)}")
    else:
        raise BadInputError(f"{uri or repr(uri)}: unknown kind of sink {key!r}; {nearest(key, {**SINKS, **plugins})}")
    return opener(uri, surroundings)
