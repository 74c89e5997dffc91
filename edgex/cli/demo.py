"""`edgex demo`: the whole way, from photos to a live stream, on a machine that has neither photos nor a camera."""

import json
import shlex
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from edgex.cli.console import answers
from edgex.cli.flags import flags
from edgex.cli.progress import PipelineProgress
from edgex.demo.tour import DemoConfig

if TYPE_CHECKING:
    from edgex.demo.tour import DemoResult, LiveRun


@click.command("demo")
@flags(DemoConfig, {"out": "-o"})
@click.option("--json", "as_json", is_flag=True, help="Print what came out as JSON.")
def command(*, as_json: bool, **settings: Any) -> None:
    """Draw photos, train, convert, prove each file, and classify a film with all of them.

    Needs no data, no camera and no GPU. Exit codes are those of `edgex convert`.
    """
    from edgex.demo.tour import run_demo

    with closing(PipelineProgress()) as progress:
        with progress:
            result = run_demo(DemoConfig(**settings), progress)
        progress.warnings(result.conversion)
        if not as_json:
            progress.table(result.conversion)
    if as_json:
        click.echo(json.dumps(_plain(result), indent=2))
    else:
        answers().print(_live_table(result.runs))
        _say_where(result)
        _say_what_next(result)
    failure = result.conversion.failure()
    if failure is not None:
        raise failure


def _live_table(runs: "tuple[LiveRun, ...]") -> Table:
    table = Table(title="the film, frame by frame, through each artifact", title_justify="left")
    table.add_column("artifact", no_wrap=True)
    for heading in ("frames", "right", "fps", "age ms, median", "95 % within", "inference ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        summary = run.summary
        table.add_row(
            str(run.target),
            str(summary.classified),
            f"{run.accuracy:.1%} of {run.scored}",
            f"{summary.fps:.0f}",
            f"{summary.age_median_ms or 0:.1f}",
            f"{summary.age_p95_ms or 0:.1f}",
            f"{summary.stage_median_ms['inference']:.1f}",
        )
    return table


def _say_where(result: "DemoResult") -> None:
    lines = {
        "a picture": result.picture,
        "the video": result.video,
        "the report": result.report,
        "the photos": result.photos,
    }
    for name, path in lines.items():
        if path is not None:
            click.echo(f"{name:<11}{path}", err=True)


def _say_what_next(result: "DemoResult") -> None:
    edgex, convert = _as_typed("edgex"), _as_typed("convert-model")
    model = next((run.path for run in reversed(result.runs)), result.training.checkpoint)
    click.echo(
        f"""
Next, with your own webcam and photos:
  1. Draw a star, a heart or an arrow on paper, and hold it up to the camera:
       {edgex} live {shlex.quote(str(model))} 0
  2. Teach a network your own classes, from a folder with one folder of photos a class:
       {edgex} train --data PHOTOS --weights imagenet --freeze-trunk
  3. Make it ready for a small computer, and have every file proved (train prints this with your paths):
       {convert} runs/PHOTOS/PHOTOS.safetensors --calib TRAIN_PHOTOS --eval VAL_PHOTOS""",
        err=True,
    )


def _as_typed(name: str) -> str:
    """How this user calls a command of this installation: by name where the shell finds it, else by path."""
    here = Path(sys.argv[0]).with_name(name)
    found = shutil.which(name)
    if found and Path(found).resolve() == here.resolve():
        return name
    return shlex.quote(str(here)) if here.exists() else name


def _plain(result: "DemoResult") -> dict[str, Any]:
    return {
        "photos": str(result.photos),
        "checkpoint": str(result.training.checkpoint),
        "reference_accuracy": result.conversion.reference_accuracy,
        "report": str(result.report),
        "film": str(result.film),
        "video": str(result.video) if result.video else None,
        "picture": str(result.picture) if result.picture else None,
        "artifacts": [
            {"artifact": str(outcome.target), "status": outcome.status, "why": outcome.why}
            for outcome in result.conversion.outcomes
        ],
        "live": [
            {
                "artifact": str(run.target),
                "accuracy": run.accuracy,
                "scored": run.scored,
                "fps": run.summary.fps,
                "age_median_ms": run.summary.age_median_ms,
                "results": str(run.results),
            }
            for run in result.runs
        ],
    }
