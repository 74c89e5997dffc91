"""`edgex tune MODEL…`: measure models on this machine, and keep the fastest way to run them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgex.cli.sizes import size

if TYPE_CHECKING:
    from rich.table import Table

    from edgex_devices.tuning.tune import TuneConfig, Tuning
    from edgex_devices.tuning.tuned import Row

# As of the doctor: there is something to mend.
EXIT_NOTHING_FITS = 9


def _counts(_: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...]:
    """``1,2,4``."""
    words = value.split(",") if value else []
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise click.BadParameter(f"want numbers as 1,2,4, got {value!r}", param=option)
    return tuple(map(int, words))


@click.command(name="tune", epilog="Exit codes: 0 there is a choice, 9 nothing fits.")
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL...")
@click.option("--min-fps", type=click.FloatRange(0, min_open=True), help="Frames per second, by the median frame.")
@click.option("--max-latency", type=click.FloatRange(0, min_open=True), metavar="MS", help="For 95 % of all frames.")
@click.option(
    "--memory", type=click.FloatRange(0, min_open=True), metavar="MB", help="Of the process; by default the board's."
)
@click.option("--threads", callback=_counts, metavar="N,…", help="To try; by default powers of two up to the cores.")
@click.option("--engine", "engines", multiple=True, metavar="NAME", help="To try; by default all that are installed.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often each is measured.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="For how long."
)
@click.option(
    "--frame", callback=size, default="1280x720", show_default=True, metavar="WxH", help="Size of the camera's frames."
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole table as JSON.")
def command(models: tuple[Path, ...], as_json: bool, **typed: Any) -> int:
    """Measure every engine, device and number of threads on these files, and keep the fastest that fits.

    Only files whose evidence passed its gate count. edgex live uses the choice for that file on this machine.
    """
    from edgex_devices.tuning.limits import Limits
    from edgex_devices.tuning.tune import TuneConfig
    from edgex_runtime.schema import to_plain

    # `edgex tune made/*` names an OpenVINO model's weights too.
    files = tuple(path for path in models if path.suffix != ".bin" or path.with_suffix(".xml") not in models)
    config = TuneConfig(
        models=files,
        limits=Limits(min_fps=typed["min_fps"], max_latency_ms=typed["max_latency"], memory_mb=typed["memory"]),
        threads=typed["threads"],
        engines=typed["engines"],
        rounds=typed["rounds"],
        seconds=typed["seconds"],
        frame=typed["frame"],
    )
    tuning = _tune_with_progress(config)
    if as_json:
        click.echo(json.dumps(to_plain(tuning), ensure_ascii=False, indent=2))
    else:
        _print(tuning)
    return 0 if tuning.choice else EXIT_NOTHING_FITS


def _tune_with_progress(config: "TuneConfig") -> "Tuning":
    """Tune, with a bar on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    from edgex_devices.tuning.tune import tune

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=name)

        return tune(config, show)


def _print(tuning: "Tuning") -> None:
    from rich.markup import escape

    from edgex.cli.console import answers

    console = answers()
    console.print(_table([row for row in tuning.rows if row.figures], tuning))
    for line in _not_measured(tuning):
        console.print(f"not measured: {escape(line)}", soft_wrap=True)
    for remark in tuning.remarks:
        console.print(f"[yellow]remark[/yellow]: {escape(remark)}", soft_wrap=True)
    if tuning.choice:
        console.print(f"[green]choice[/green] ({tuning.limits}): {escape(str(tuning.choice))}", soft_wrap=True)
    else:
        console.print(f"[red]nothing fits[/red] ({tuning.limits})", soft_wrap=True)
    for line in tuning.advice:
        console.print(f"→ {escape(line)}", soft_wrap=True)
    for path in tuning.files:
        console.print(f"kept in {path}", soft_wrap=True, highlight=False)


def _not_measured(tuning: "Tuning") -> "list[str]":
    """One line a file where all its ways share the reason, else one a way."""
    lines = []
    for model in dict.fromkeys(row.candidate.model for row in tuning.rows):
        rows = [row for row in tuning.rows if row.candidate.model == model]
        if len({row.why_not for row in rows}) == 1 and rows[0].figures is None:
            lines.append(f"{Path(model).name}: {rows[0].why_not}")
        else:
            lines += [f"{row.candidate}: {row.why_not}" for row in rows if row.figures is None]
    return lines


def _table(rows: "list[Row]", tuning: "Tuning") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for heading in ("model", "engine", "threads"):
        table.add_column(heading, overflow="fold")
    for heading in ("ms", "± ms", "95 % ms", "fps", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        figures, item = row.figures, row.candidate
        if figures is None:
            continue
        threads = f"{item.threads or ''}{' spinning' if item.spin else ''}"
        engine = item.engine if figures.ran_on == "cpu" else f"{item.engine} ({figures.ran_on})"
        spread = f"{figures.spread_ms:.1f}" if figures.rounds > 1 else "–"
        verdict = "[green]choice[/green]" if item == tuning.choice else escape(row.why_not)
        times = (f"{figures.frame_ms:.1f}", spread, f"{figures.p95_ms:.1f}", f"{figures.fps:.0f}")
        table.add_row(escape(Path(item.model).name), engine, threads, *times, f"{figures.peak_mb:.0f}", verdict)
    return table
