"""`edgex compare FIRST SECOND SOURCE`: do two model files say the same to the same pictures, and if not, why?"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgex_runtime.errors import ParityError

if TYPE_CHECKING:
    from edgex_runtime.comparison import Comparison
    from edgex_runtime.model import Model
    from edgex_runtime.sources.source import Source

_SHOWN = 10


@click.command(epilog="Exit codes: 0, or 4 where they agree on fewer pictures than --min-agreement.")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of both engines.")
@click.option("--spec", type=click.Path(), help="The contract (TOML) of a model file that carries none.")
@click.option(
    "--min-agreement", type=click.FloatRange(0, 1), metavar="SHARE", help="Fail below this share of pictures, 0 to 1."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    first: Path,
    second: Path,
    source: str,
    threads: int | None,
    spec: str | None,
    min_agreement: float | None,
    as_json: bool,
) -> None:
    """Show every picture of SOURCE to the models FIRST and SECOND, and say where they differ.

    SOURCE is a folder of pictures, a quoted pattern ('*.jpg') or a video: one that your own camera took tells most.
    """
    from contextlib import closing

    from edgex_runtime.metadata.registry import read_spec
    from edgex_runtime.model import Model
    from edgex_runtime.sources.registry import open_source

    # A contract from outside is for the file that has none.
    given = [spec if read_spec(path) is None else None for path in (first, second)]
    with (
        Model(first, threads=threads, spec=given[0]) as one,
        Model(second, threads=threads, spec=given[1]) as other,
        closing(open_source(source)) as opened,
    ):
        comparison = _compare(one, other, opened)
        click.echo(_to_json(first, second, comparison) if as_json else _describe(one, other, comparison))
    if min_agreement is not None and comparison.agreement.value < min_agreement:
        raise ParityError(
            f"{first} and {second} agree on {comparison.agreement.value:.1%} of {comparison.images} pictures, want "
            f"{min_agreement:.1%}: `edgex inspect {second} --layers --against {first}` names the layers that differ"
        )


def _compare(one: "Model", other: "Model", source: "Source") -> "Comparison":
    from rich.console import Console
    from rich.progress import Progress

    from edgex_runtime.comparison import compare

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("pictures", total=None)
        return compare(one, other, source, lambda done: progress.update(task, completed=done))


def _to_json(first: Path, second: Path, comparison: "Comparison") -> str:
    from edgex_runtime.schema import to_plain

    return json.dumps(
        {"first": str(first), "second": str(second), **to_plain(comparison)}, ensure_ascii=False, indent=1
    )


def _describe(one: "Model", other: "Model", comparison: "Comparison") -> str:
    share, mean, most = comparison.agreement, comparison.mean_score_difference, comparison.largest_score_difference
    interval = f"95 % interval {share.low:.1%} – {share.high:.1%}"
    lines = [
        f"answers   the same on {share.value:.1%} of {comparison.images} pictures ({interval})",
        f"scores    differ by {mean:.2%} on average, {most:.1%} at most",
        f"time      {one.info.name} {comparison.first_ms:.1f} ms · {other.info.name} {comparison.second_ms:.1f} ms",
    ]
    if comparison.contract:
        lines.append("contracts differ in what a picture becomes, or in what an answer means:")
        lines += [f"  {one.field}: {one.first!r} · {one.second!r}" for one in comparison.contract]
    if comparison.disagreements:
        lines.append(f"{len(comparison.disagreements)} pictures that they call different things, the surest first:")
        lines += [
            f"  {one.name}: {one.first} {one.first_score:.0%} · {one.second} {one.second_score:.0%}"
            for one in comparison.disagreements[:_SHOWN]
        ]
    lines += [f"not read: {one.path}: {one.why}" for one in comparison.unreadable]
    return "\n".join(lines)
