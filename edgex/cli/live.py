"""`edgex live MODEL [SOURCE]`: classify what a camera, a video or a folder shows."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, get_args

import click

from edgex_runtime.engines.engine import Device
from edgex_runtime.errors import DeviceUnavailableError
from edgex_runtime.schema import to_plain

if TYPE_CHECKING:
    from edgex_runtime.engines.engine import EngineInfo
    from edgex_runtime.sinks.sink import Sink
    from edgex_runtime.sources.source import Source
    from edgex_runtime.summary import LiveSummary

EXIT_INTERRUPTED = 130
STDOUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveConfig:
    """What was typed."""

    model: str
    source: str
    out: tuple[str, ...]
    spec: str | None
    engine: str | None
    device: Device
    require_device: bool
    threads: int | None
    max_frames: int | None
    duration: float | None
    json: bool

    def __post_init__(self) -> None:
        if self.require_device and self.device == "auto":
            raise click.UsageError("--require-device wants a device to require: add --device cpu, gpu or npu")

    @property
    def sinks(self) -> tuple[str, ...]:
        """Each sink once; the terminal where none was asked for."""
        wanted = (*([STDOUT] if self.json else []), *self.out) or ("terminal://",)
        return tuple(dict.fromkeys(wanted))


@dataclass(slots=True)
class Stop:
    """Set by a signal, asked by the frame loop."""

    signals: list[int] = field(default_factory=list)

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return bool(self.signals)


@click.command(epilog="Exit codes: 6 the device is not there, 7 the camera is not there or was lost, 130 Ctrl-C.")
@click.argument("model", type=click.Path())
@click.argument("source", default="0")
@click.option(
    "--out", "-o", multiple=True, metavar="URI", help="out.mp4, out.webm, out.avi, out.jsonl, - or terminal://"
)
@click.option("--spec", type=click.Path(), help="The contract (TOML) of a model file that carries none.")
@click.option("--engine", metavar="NAME", help="The engine to run it; by default the one for the file's suffix.")
@click.option("--device", type=click.Choice(get_args(Device)), default="auto", show_default=True)
@click.option("--require-device", is_flag=True, help="Fail rather than run on another device than the one asked for.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of the engine; by default it decides.")
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="End after N frames.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), metavar="S", help="End after S seconds.")
@click.option("--json", is_flag=True, help="JSON lines on stdout: one for each result, the summary last.")
def command(**typed: object) -> int:
    """Classify what SOURCE shows: the newest frame of a camera, every frame of a file.

    SOURCE is 0 (the first camera), /dev/video0, a video file, a folder of pictures, a quoted pattern ('*.jpg') or
    test://shapes?size=640x480&fps=30&drop=5%&freeze=3s&frames=300&seed=1, a camera that is always there.
    """
    return run(LiveConfig(**typed))  # type: ignore[arg-type]  # click has checked them


def run(config: LiveConfig) -> int:
    """Open everything, run until the source or the user ends it, and print the summary.

    Returns:
        The exit code.
    """
    from edgex_runtime.live import Hooks, LiveOptions, run_live
    from edgex_runtime.model import Model
    from edgex_runtime.sources.registry import open_source

    stop = Stop()
    with Model(
        config.model, engine=config.engine, device=config.device, threads=config.threads, spec=config.spec
    ) as model:
        info = model.engine.info
        check_device(config, info)
        # Before the camera opens: an engine's first call is slow, and its frame would be old.
        model.warm_up()
        with stop_on_signals(stop):
            source = open_source(config.source)
            sinks = open_sinks(config.sinks, source)
            click.echo(
                f"{model.spec.name} by {info.name} {info.version} on {info.device}; {source.info.name}", err=True
            )
            options = LiveOptions(max_frames=config.max_frames, duration_s=config.duration)
            hooks = Hooks(
                reopen=partial(open_source, config.source),
                stop=stop,
                on_end=partial(print_summary, as_json=config.json),
            )
            try:
                run_live(model, source, sinks, options, hooks)
            except BrokenPipeError:
                # Whoever read stdout has left (`edgex live … --json | head`), which is one way to end a run. Nothing is
                # left to be said there, at the interpreter's exit either; click would make it exit code 1.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_INTERRUPTED if signal.SIGINT in stop.signals else 0


def check_device(config: LiveConfig, info: "EngineInfo") -> None:
    """Hold the engine to `--require-device`.

    Raises:
        DeviceUnavailableError: If it runs elsewhere.
    """
    # "gpu.0 cpu" is OpenVINO's way to say that both take part; torch adds the card's name.
    devices = {word.partition(".")[0] for word in info.device.lower().split()} & {*get_args(Device)}
    if config.require_device and devices != {config.device}:
        raise DeviceUnavailableError(
            f"--require-device: want {config.model} on {config.device}, {info.name} {info.version} runs it on "
            f"{info.device}: install that device's driver, choose another --engine, or leave out --require-device"
        )


def open_sinks(uris: tuple[str, ...], source: "Source") -> "list[Sink]":
    """Open all sinks, or none: what was opened is closed again when a later one, or the source, cannot be used."""
    from edgex_runtime.sinks.registry import Surroundings, open_sink

    with ExitStack() as stack:
        stack.callback(source.close)
        surroundings = Surroundings(source=source.info)
        sinks = []
        for uri in uris:
            sinks.append(open_sink(uri, surroundings))
            stack.callback(sinks[-1].close)
        stack.pop_all()
    return sinks


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the run between two frames; a second one ends it at once."""
    previous: dict[signal.Signals, object] = {}

    def ask(number: int, _: object) -> None:
        stop.signals.append(number)
        signal.signal(number, previous[signal.Signals(number)])  # type: ignore[arg-type]

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for restored, handler in previous.items():
            signal.signal(restored, handler)  # type: ignore[arg-type]


def print_summary(summary: "LiveSummary", *, as_json: bool) -> None:
    """Print the figures: for people on stderr, and for programs as stdout's last line."""
    from edgex_runtime.sinks.jsonl import SCHEMA_VERSION

    click.echo(describe(summary), err=True)
    if as_json:
        line = {"schema": SCHEMA_VERSION, "kind": "summary", **to_plain(summary), "state": summary.state.value}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def describe(summary: "LiveSummary") -> str:
    """The summary in two or three lines."""
    failed = f", {summary.failed} could not be read" if summary.failed else ""
    lines = [
        f"{summary.classified} frames classified{failed}, {summary.dropped} dropped for newer ones, "
        f"{summary.fps:.1f} fps over {summary.seconds:.1f} s; the source: {summary.state.value}"
    ]
    if summary.age_median_ms is not None:
        ages = (summary.age_median_ms, summary.age_p95_ms or 0.0, summary.age_max_ms or 0.0)
        lines.append("age      median {:.1f} ms, 95 % within {:.1f} ms, oldest {:.1f} ms".format(*ages))
        stages = (f"{stage} {ms:.2f}" for stage, ms in summary.stage_median_ms.items())
        lines.append(f"medians  {', '.join(stages)} ms")
    return "\n".join(lines)
