"""`edgex live MODEL [SOURCE]`: classify what a camera, a video or a folder shows."""

import json
import math
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from edgex.interrupt import EXIT_INTERRUPTED, LeavesAtOnce
from edgex_runtime.engines.engine import Device
from edgex_runtime.errors import BadInputError, DeviceUnavailableError
from edgex_runtime.schema import to_plain

if TYPE_CHECKING:
    from edgex_runtime.control import Control, ModelChoice
    from edgex_runtime.engines.engine import EngineInfo
    from edgex_runtime.live import Input, LiveOptions
    from edgex_runtime.sinks.queued import QueuedSink, SinkFigures
    from edgex_runtime.summary import LiveSummary

STDOUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveConfig:
    """What was typed."""

    model: str
    source: tuple[str, ...]
    also: tuple[str, ...]
    out: tuple[str, ...]
    spec: str | None
    engine: str | None
    device: Device
    require_device: bool
    threads: int | None
    max_frames: int | None
    duration: float | None
    reconnect: float
    smooth: float
    hysteresis: float
    unknown_below: float
    debounce: float
    motion: float | None
    json: bool

    def __post_init__(self) -> None:
        if self.require_device and self.device == "auto":
            raise click.UsageError("--require-device wants a device to require: add --device cpu, gpu or npu")

    @property
    def sources(self) -> tuple[str, ...]:
        """What was asked for, or the first camera."""
        return self.source or ("0",)

    @property
    def sinks(self) -> tuple[str, ...]:
        """Each sink once; the terminal where none was asked for."""
        wanted = (*([STDOUT] if self.json else []), *self.out) or ("terminal://",)
        return tuple(dict.fromkeys(wanted))

    def options(self) -> "LiveOptions":
        """The run's part of it."""
        from edgex_runtime.answers import AnswerOptions
        from edgex_runtime.live import LiveOptions
        from edgex_runtime.motion import MotionOptions

        answers = AnswerOptions(
            smooth_s=self.smooth,
            hysteresis=self.hysteresis,
            unknown_below=self.unknown_below,
            debounce_s=self.debounce,
        )
        return LiveOptions(
            max_frames=self.max_frames,
            duration_s=self.duration,
            reconnect_s=self.reconnect,
            answers=answers,
            motion=None if self.motion is None else MotionOptions(level=self.motion),
        )


class SecondsType(click.ParamType[float]):
    """Seconds, or the word for no limit."""

    name = "seconds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """``30`` → 30.0, ``forever`` → infinity."""
        if value == "forever":
            return math.inf
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            self.fail(f"want seconds, 0 or more, or forever, got {value!r}", param, ctx)
        return seconds


SHARE = click.FloatRange(0, 1)
STDIN = "-?"


class LiveCommand(click.Command):
    """Takes `-?size=640x480`, raw pictures on stdin, for the source that it is; to click it looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """With a blank before it, which `as_typed` takes off again."""
        return super().parse_args(ctx, [f" {arg}" if arg.startswith(STDIN) else arg for arg in args])


def as_typed(_: click.Context, __: click.Parameter, sources: tuple[str, ...]) -> tuple[str, ...]:
    """The sources without what `LiveCommand` put before them."""
    return tuple(one[1:] if one.startswith(f" {STDIN}") else one for one in sources)


@click.command(
    cls=LiveCommand, epilog="Exit codes: 6 the device is not there, 7 the camera is not there or was lost, 130 Ctrl-C."
)
@click.argument("model", type=click.Path())
@click.argument("source", nargs=-1, callback=as_typed)
@click.option("--also", multiple=True, metavar="MODEL", help="Another model to load, for the console to switch to.")
@click.option(
    "--out", "-o", multiple=True, metavar="URI", help="Where results go, more than once if wanted: see below."
)
@click.option("--spec", type=click.Path(), help="The contract (TOML) of a model file that carries none.")
@click.option("--engine", metavar="NAME", help="The engine to run it; by default the one for the file's suffix.")
@click.option("--device", type=click.Choice(get_args(Device)), default="auto", show_default=True)
@click.option("--require-device", is_flag=True, help="Fail rather than run on another device than the one asked for.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of the engine; by default it decides.")
@click.option("--max-frames", type=click.IntRange(1), metavar="N", help="End after N frames.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), metavar="S", help="End after S seconds.")
@click.option(
    "--reconnect", type=SecondsType(), default="30", show_default=True, help="How long a lost camera may stay away."
)
@click.option(
    "--smooth", type=click.FloatRange(0), default=0.0, metavar="S", help="Average the answers over about S seconds."
)
@click.option(
    "--hysteresis", type=SHARE, default=0.0, metavar="P", help="Change the label only for one likelier by P (0 to 1)."
)
@click.option(
    "--unknown-below", type=SHARE, default=0.0, metavar="P", help="Say unknown where no class reaches probability P."
)
@click.option(
    "--debounce",
    type=click.FloatRange(0),
    default=0.5,
    show_default=True,
    metavar="S",
    help="How long an answer must stand before it is an event.",
)
@click.option(
    "--motion",
    type=click.FloatRange(0, 256, min_open=True, max_open=True),
    metavar="LEVEL",
    help="Classify only where something moved by LEVEL grey levels (6 suits most cameras), and every 10 seconds.",
)
@click.option("--json", is_flag=True, help="JSON lines on stdout: one for each result, the summary last.")
def command(**typed: object) -> int:
    """Classify what each SOURCE shows: the newest frame of a camera, every frame of a file.

    SOURCE is 0 (the first camera, the default), /dev/video0, file.mp4, a folder of pictures, a quoted pattern
    ('*.jpg'), rtsp://camera/stream, http://camera/video.mjpg, csi://0, 'gst:PIPELINE', screen://, browser://,
    '-?size=640x480' (raw pictures on stdin) or test://shapes?size=640x480&fps=30&drop=5%&freeze=3s&seed=1, a camera
    that is always there and fails on demand. Several take turns. docs/sources.md has the options of each.

    --out takes terminal:// (the default), display://, out.mp4, out.webm, out.avi, out.jsonl, - (JSON lines),
    http://127.0.0.1:8080 (the console), mqtt://host/topic, metrics://127.0.0.1:9100, webhook+https://host/path and
    watchdog://. docs/sinks.md and docs/console.md have the options of each.

    What `edgex tune` found to be the fastest way to run MODEL on this machine is used, unless --engine, --device or
    --threads say otherwise.
    """
    return run(LiveConfig(**typed))  # type: ignore[arg-type]  # click has checked them


def run(config: LiveConfig) -> int:
    """Open everything, run until the sources or the user end it, and print the summary.

    Returns:
        The exit code.
    """
    with LeavesAtOnce():
        from edgex_runtime.control import Control
        from edgex_runtime.heap import release_freed
        from edgex_runtime.live import Hooks, open_inputs, run_live

    options, control = config.options(), Control()
    signals: list[int] = []
    with ExitStack() as stack:
        with leave_on_sigterm():
            models = open_models(config, stack)
            inputs = open_inputs(config.sources)
            sinks = open_sinks(config.sinks, inputs, models, control)
        # The run lasts, and a model's first start has decoded pictures for its self-test.
        release_freed()
        stack.enter_context(stop_on_signals(control, signals))
        names = ", ".join(given.info.name for given in inputs)
        info = models.info
        click.echo(f"{models.spec.name} by {info.name} {info.version} on {info.device}; {names}", err=True)
        hooks = Hooks(control=control, on_end=partial(print_summary, sinks=sinks, as_json=config.json))
        try:
            run_live(models, inputs, sinks, options, hooks)
        except BrokenPipeError:
            # Whoever read stdout has left (`edgex live … --json | head`), which is one way to end a run; click would
            # make it exit code 1.
            leave_stdout()
    return EXIT_INTERRUPTED if signal.SIGINT in signals else 0


def open_models(config: LiveConfig, stack: ExitStack) -> "ModelChoice":
    """Open the model and those to switch to, each on the device that was asked for, and run each once.

    Raises:
        BadInputError: If two files have the same name.
        DeviceUnavailableError: If one runs on another device than the one required.
    """
    with LeavesAtOnce():
        from edgex_runtime.control import ModelChoice
        from edgex_runtime.engines.registry import engine_for
        from edgex_runtime.model import Model

    models: dict[str, Model] = {}
    for path in (config.model, *config.also):
        name = Path(path).name
        if name in models:
            raise BadInputError(f"--also {path}: a model file of that name is loaded already: give each file its own")
        # A contract and an engine that were named are for the first: others may be of another format.
        first = not models
        how = how_to_run(config, path, config.engine if first else None)
        with LeavesAtOnce():
            engine_for(Path(path), how["engine"])
        models[name] = model = stack.enter_context(Model(path, **how, spec=config.spec if first else None))
        check_device(config, path, model.info)
        # Before the camera opens: an engine's first call is slow, and its frame would be old.
        model.warm_up()
    return ModelChoice(models)


def how_to_run(config: LiveConfig, path: str, engine: str | None) -> dict[str, Any]:
    """`Model`'s keywords: what was typed, or else what was tuned for this file on this machine."""
    from edgex_devices.tuning.tuned_folder import tuned_folder

    typed = {"engine": engine, "device": config.device, "threads": config.threads}
    is_open = engine is None and config.device == "auto" and config.threads is None
    # Telling the file takes its digest, and 4 MB of modules: only where something was tuned at all.
    if not (is_open and tuned_folder().is_dir()):
        return typed
    from edgex_devices.tuning.tuned import load_tuned

    tuned = load_tuned(Path(path))
    if tuned is None:
        return typed
    click.echo(f"as tuned: {tuned.best}", err=True)
    options = tuned.options
    return {"engine": tuned.engine, "device": options.device, "threads": options.threads, "spin": options.spin}


def check_device(config: LiveConfig, path: str, info: "EngineInfo") -> None:
    """Hold the engine to `--require-device`, and without it say what is used instead.

    Raises:
        DeviceUnavailableError: If it runs elsewhere.
    """
    # "gpu.0 cpu" is OpenVINO's way to say that both take part; torch adds the card's name.
    devices = {word.partition(".")[0] for word in info.device.lower().split()} & {*get_args(Device)}
    if config.device == "auto" or devices == {config.device}:
        return
    if not config.require_device:
        click.echo(f"{path}: asked for {config.device}, {info.name} {info.version} runs it on {info.device}", err=True)
        return
    raise DeviceUnavailableError(
        f"--require-device: want {path} on {config.device}, {info.name} {info.version} runs it on "
        f"{info.device}: install that device's driver, choose another --engine, or leave out --require-device"
    )


def open_sinks(
    uris: tuple[str, ...], inputs: "Sequence[Input]", models: "ModelChoice", control: "Control"
) -> "list[QueuedSink]":
    """Open all sinks, or none: what was opened is closed again when a later one, or a source, cannot be used.

    Raises:
        BadInputError: If a sink cannot be opened.
    """
    from edgex_runtime.sinks.registry import Surroundings, open_queued

    infos = tuple(given.info for given in inputs)
    with ExitStack() as stack:
        for given in inputs:
            stack.callback(given.source.close)
        surroundings = Surroundings(source=infos[0], sources=infos, control=control, models=models)
        for uri in uris:
            stack.callback(open_queued(uri, surroundings).close)
        stack.pop_all()
    return surroundings.queues


@contextmanager
def leave_on_sigterm() -> Iterator[None]:
    """Before the run begins SIGTERM ends the command at once, as Ctrl-C does, and what is open already is closed."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def stop_on_signals(control: "Control", signals: list[int]) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the run between two frames; a second one ends it at once.

    Args:
        control: Of the run.
        signals: Gets the numbers of those that came.
    """
    previous: dict[signal.Signals, object] = {}

    def ask(number: int, _: object) -> None:
        signals.append(number)
        control.stop()
        signal.signal(number, previous[signal.Signals(number)])  # type: ignore[arg-type]

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for restored, handler in previous.items():
            signal.signal(restored, handler)  # type: ignore[arg-type]


def print_summary(summary: "LiveSummary", *, sinks: "Sequence[QueuedSink]", as_json: bool) -> None:
    """Print the figures: for people on stderr, and for programs as stdout's last line."""
    from edgex_runtime.sinks.jsonl import SCHEMA_VERSION

    figures = [sink.figures() for sink in sinks]
    click.echo("\n".join([describe(summary), *map(describe_sink, filter(is_lossy, figures))]), err=True)
    # Who stopped reading has left the sink's thread inside stdout, which nobody else can write to then.
    if as_json and not any(one.name == STDOUT and one.left_behind for one in figures):
        line = {
            "schema": SCHEMA_VERSION,
            "kind": "summary",
            **to_plain(summary),
            "state": summary.state.value,
            "sinks": [to_plain(one) for one in figures],
        }
        try:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            leave_stdout()
            raise BadInputError(f"stdout: cannot be written any more: {error}") from error


def leave_stdout() -> None:
    """Nothing can be said there any more, by the interpreter at its exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_lossy(figures: "SinkFigures") -> bool:
    """Whether a sink did not take all that it was given, so that a person must hear of it."""
    return bool(figures.dropped or figures.left_behind)


def describe_sink(figures: "SinkFigures") -> str:
    """What became of the results that a sink was given, in a line."""
    took = "" if figures.median_ms is None else f" at {figures.median_ms:.1f} ms each"
    left = "; it did not end, and was left behind" if figures.left_behind else ""
    if figures.delivered is not None:
        took = f", and delivered {figures.delivered or 'none'} of its messages"
    return f"{figures.name}: took {figures.written} results{took}, {figures.dropped} dropped{left}"


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
