"""`edgex train`: a folder of photos → a checkpoint with its contract."""

import dataclasses
import json
import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from edgex.cli.flags import flags
from edgex.training.config import TrainConfig

if TYPE_CHECKING:
    from edgex.training.loop import TrainResult
    from edgex.training.observer import EpochMetrics


@click.command("train")
@flags(TrainConfig, {"out": "-o"})
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(*, as_json: bool, **settings: Any) -> None:
    """Train a network on a folder of photos, one folder a class.

    With --weights and --freeze-trunk a CPU trains in minutes what follows the given weights' last whole block.
    Interrupted runs go on with --resume.
    """
    from edgex.training.loop import train

    config = TrainConfig(**settings)
    with _shown() as observer:
        result = train(config, observer)
    click.echo(json.dumps(_plain(result), ensure_ascii=False) if as_json else str(result.checkpoint))
    if not as_json:
        _say_what_next(result)


class _Bars:
    """An observer that draws a bar a stage; on anything but a terminal it draws nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar: TaskID | None = None

    def stage(self, name: str, total: int) -> None:
        """A bar in place of the last one."""
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        self._bar = self._progress.add_task(name, total=total)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._progress.advance(self._bar, count)

    def epoch(self, metrics: "EpochMetrics") -> None:
        """Nothing: the log has a line for it."""


@contextmanager
def _shown() -> Iterator[_Bars]:
    """Let what the library logs be read on stderr, and its progress be seen on a terminal, within the block."""
    console = Console(stderr=True)
    logger = logging.getLogger("edgex.training")
    # Beside bars the lines go through rich; into a file they stay whole, where rich would wrap them at 80 columns.
    handler = (
        RichHandler(console=console, show_time=False, show_path=False, show_level=False)
        if console.is_terminal
        else logging.StreamHandler(sys.stderr)
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    logger.addHandler(handler)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            yield _Bars(progress)
    finally:
        logger.removeHandler(handler)


def _plain(result: "TrainResult") -> dict[str, Any]:
    return {
        "checkpoint": str(result.checkpoint),
        "run": str(result.run),
        "best": dataclasses.asdict(result.best),
        "evidence": dict(result.spec.evidence[0].metrics),
        "images": result.spec.evidence[0].images,
        "left_out": [{"path": str(item.path), "why": item.why} for item in result.left_out],
    }


def _say_what_next(result: "TrainResult") -> None:
    evidence = result.spec.evidence[0]
    words = ["convert-model", str(result.checkpoint), "--to", "onnx,openvino,tflite", "--precision", "fp32,int8"]
    words += ["--calib", str(result.train_folder), "--eval", str(result.val_folder)]
    low, high = evidence.metrics["top1_low"], evidence.metrics["top1_high"]
    if "float_top1" in evidence.metrics:
        verdict = "" if evidence.passed else f": {evidence.why}"
        metrics = evidence.metrics
        click.echo(
            f"\nint8 answers as the float network does on {metrics['float_agreement']:.1%} of val, calibrated alone on "
            f"{metrics['calibrated_agreement']:.1%}\n"
            f"top-1 in float {metrics['float_top1']:.1%}, calibrated {metrics['calibrated_top1']:.1%}{verdict}",
            err=True,
        )
    click.echo(
        f"\ntop-1 {evidence.metrics['top1']:.1%} (95 % interval {low:.1%} to {high:.1%}) "
        f"on {evidence.images} photos of val, epoch {result.best.epoch} of {len(result.history)}\n"
        f"curves {result.run / 'curves.png'}, confusion {result.run / 'confusion.png'}\n\n"
        f"next: {shlex.join(words)}",
        err=True,
    )
