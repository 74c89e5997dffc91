"""`edgex bench MODEL…`: what each model file takes on this machine, compared in one run."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from edgex.cli.sizes import size
from edgex_runtime.engines.engine import Device

if TYPE_CHECKING:
    from rich.table import Table

    from edgex_devices.tuning.bench import Bench, BenchConfig, BenchRow

# As of a missing backend: no file could be measured.
EXIT_NOTHING_MEASURED = 3
_PATH = click.Path(path_type=Path)


@click.command(name="bench", epilog="Exit codes: 0 all are measured, 3 one could not be.")
@click.argument("models", nargs=-1, required=True, type=_PATH, metavar="MODEL...")
@click.option("--engine", metavar="NAME", help="By default as `edgex live`: the tuned one, else that of the suffix.")
@click.option("--device", type=click.Choice(get_args(Device)), help="By default the tuned one, else auto.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="By default the tuned number, else the engine's.")
@click.option("--spec", type=_PATH, metavar="FILE", help="The contract (TOML) of files that carry none.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="How often each is measured.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="For how long."
)
@click.option(
    "--frame", callback=size, default="1280x720", show_default=True, metavar="WxH", help="Size of the camera's frames."
)
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
def command(models: tuple[Path, ...], *, as_json: bool, **typed: object) -> int:
    """Measure what each MODEL takes here: engine, whole prediction, processor time, start and memory.

    Each runs as edgex live would run it, in a process of its own, in turns forth and back. Times are medians, then what
    nine of ten frames kept; ± is how far the rounds differ. `edgex tune` tries every way of running a file instead.
    """
    from edgex_devices.tuning.bench import BenchConfig
    from edgex_runtime.schema import to_plain

    # `edgex bench made/*` names an OpenVINO model's weights too.
    files = tuple(path for path in models if path.suffix != ".bin" or path.with_suffix(".xml") not in models)
    result = _bench_with_progress(BenchConfig(models=tuple(dict.fromkeys(files)), **typed))  # type: ignore[arg-type]
    if as_json:
        click.echo(json.dumps(to_plain(result), ensure_ascii=False, indent=2))
    else:
        _print(result)
    return EXIT_NOTHING_MEASURED if any(row.figures is None for row in result.rows) else 0


def _bench_with_progress(config: "BenchConfig") -> "Bench":
    from rich.console import Console
    from rich.progress import Progress

    from edgex_devices.tuning.bench import bench

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=name)

        return bench(config, show)


def _print(result: "Bench") -> None:
    from rich.markup import escape

    from edgex.cli.console import answers

    console = answers()
    measured = [row for row in result.rows if row.figures]
    if measured:
        console.print(_table(measured))
    for row in result.rows:
        if row.figures is None:
            console.print(f"not measured: {escape(f'{row.candidate}: {row.why_not}')}", soft_wrap=True)
    for remark in result.remarks:
        console.print(f"[yellow]remark[/yellow]: {escape(remark)}", soft_wrap=True)


def _table(rows: "list[BenchRow]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from edgex.cli.figures import add_columns, cells

    table = Table(box=None, padding=(0, 1))
    table.add_column("model", overflow="fold", min_width=12)
    table.add_column("by", overflow="fold", min_width=12)
    add_columns(table)
    table.add_column("to the fastest", no_wrap=True)
    for row in rows:
        if row.figures:
            table.add_row(escape(Path(row.candidate.model).name), _way(row), *cells(row.figures), _ratio(row))
    return table


def _way(row: "BenchRow") -> str:
    item, figures = row.candidate, row.figures
    ran_on = f" ({figures.ran_on})" if figures and figures.ran_on != "cpu" else ""
    threads = f", {item.threads} thr" if item.threads else ""
    return f"{item.engine}{ran_on}{threads}{' spinning' if item.spin else ''}{', tuned' if row.is_tuned else ''}"


def _ratio(row: "BenchRow") -> str:
    """The rounds' range is shown; where it reaches 1, nobody knows which is faster."""
    ratio = row.ratio
    if ratio is None:
        return ""
    shown = f"{ratio.median:.2f} × ({ratio.least:.2f}–{ratio.most:.2f})"
    return shown if ratio.is_certain else f"as fast ({ratio.least:.2f}–{ratio.most:.2f})"
