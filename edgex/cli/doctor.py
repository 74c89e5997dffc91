"""`edgex doctor`: examine this machine or a board, and say what to mend."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgex_devices.doctor import Examination
    from edgex_devices.finding import Severity

# By the worst finding.
EXIT_CODES: "dict[Severity, int]" = {"ok": 0, "note": 0, "warning": 8, "error": 9}
_COLORS: "dict[Severity, str]" = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}
_WORDS: "dict[Severity, str]" = {
    "error": "error(s)",
    "warning": "warning(s)",
    "note": "note(s)",
    "ok": "as it should be",
}


@click.command(
    name="doctor", epilog="Exit codes: 0 nothing but notes, 8 a warning, 9 an error, 6 the host cannot be reached."
)
@click.option(
    "--host", metavar="HOST", help="As ssh takes it, by your own OpenSSH configuration; by default this machine."
)
@click.option("--python", metavar="PATH", help="The Python of edgex there, ~/edgex/bin/python; by default python3.")
@click.option("--ssh-config", type=click.Path(path_type=Path, exists=True), help="Instead of your own (ssh -F).")
@click.option(
    "--profiles", type=click.Path(path_type=Path), multiple=True, help="A folder of your own boards (*.toml)."
)
@click.option("--json", "as_json", is_flag=True, help="Print all facts, engine runs and findings as JSON.")
def command(
    host: str | None, python: str | None, ssh_config: Path | None, profiles: tuple[Path, ...], as_json: bool
) -> int:
    """Examine this machine, or a board over ssh, on which nothing needs to be installed.

    Looks at Python and its wheels, the CPU, memory, disks, cameras and accelerators with their permissions, heat, power
    and the clock, and runs a tiny model on each engine that is installed.
    """
    from edgex_devices.doctor import examine
    from edgex_devices.finding import worst
    from edgex_devices.host import Host
    from edgex_runtime.schema import to_plain

    examination = examine(Host(name=host, python=python, ssh_config=ssh_config), profiles or None)
    severity = worst(examination.findings)
    if as_json:
        click.echo(json.dumps({**to_plain(examination), "worst": severity}, ensure_ascii=False, indent=2))
    else:
        _print(examination)
    return EXIT_CODES[severity]


def _print(examination: "Examination") -> None:
    from rich.markup import escape
    from rich.table import Table

    from edgex.cli.console import answers

    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in examination.findings:
        text = escape(finding.what)
        if finding.why:
            text += f"\n[dim]{escape(finding.why)}[/dim]"
        if finding.mend:
            text += f"\n→ {escape(finding.mend)}"
        color = _COLORS[finding.severity]
        table.add_row(f"[{color}]{finding.severity}[/{color}]", finding.check, text)
    console = answers()
    console.print(f"[bold]{escape(examination.host)}[/bold]")
    console.print(table)
    count = Counter(finding.severity for finding in examination.findings)
    words = (f"{count[name]} {word}" for name, word in _WORDS.items())
    console.print(", ".join(words))
