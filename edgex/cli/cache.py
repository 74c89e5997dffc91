"""`edgex cache`: what finished stages of conversions are kept, and their removal."""

import json

import click

from edgex.cli.console import answers
from edgex_converters import cache
from edgex_converters.cache import Entry


@click.command(name="cache", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--clear", is_flag=True, help="Remove everything.")
@click.option(
    "--limit", "limit_gb", type=click.FloatRange(0), help="Remove what was used longest ago, down to this size (GB)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the entries as JSON.")
def command(clear: bool, limit_gb: float | None, as_json: bool) -> None:
    """Show what conversions have kept, the last used first.

    Each conversion keeps its finished stages, so that the next one need not repeat them, and removes what was used
    longest ago beyond 4 GB; EDGEX_CACHE_GB sets another limit, EDGEX_CACHE_DIR another place. Nothing in it is needed:
    what is missing or damaged is made again.
    """
    if clear or limit_gb is not None:
        cache.trim(0 if clear or limit_gb is None else int(limit_gb * 1e9))
    entries = cache.entries()
    if as_json:
        click.echo(json.dumps({"path": str(cache.folder()), "entries": [_plain(entry) for entry in entries]}, indent=2))
    else:
        _print(entries)


def _plain(entry: Entry) -> dict[str, object]:
    manifest = entry.manifest
    return {
        "key": entry.folder.name,
        "step": manifest.step,
        "about": manifest.about,
        "date": manifest.date,
        "seconds": manifest.seconds,
        "bytes": entry.bytes,
    }


def _print(entries: tuple[Entry, ...]) -> None:
    from rich.markup import escape
    from rich.table import Table

    total = sum(entry.bytes for entry in entries)
    limit = cache.limit_bytes()
    title = f"{cache.folder()}: {len(entries)} entries, {total / 1e6:,.1f} MB; the limit is {limit / 1e9:g} GB"
    table = Table(title=title, title_justify="left")
    for heading in ("step", "for", "made on"):
        table.add_column(heading)
    for heading in ("took", "MB"):
        table.add_column(heading, justify="right")
    for entry in entries:
        manifest = entry.manifest
        took, size = f"{manifest.seconds:.1f} s", f"{entry.bytes / 1e6:.2f}"
        table.add_row(escape(manifest.step), escape(manifest.about), manifest.date, took, size)
    answers().print(table)
