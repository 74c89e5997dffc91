"""`edgex devices list|show|detect`: what is known of boards, and which one a machine is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from edgex_devices.profile import Profile

UNKNOWN = "unknown"
# No board that is known; `edgex devices detect` in a script.
EXIT_UNKNOWN = 6
_PROFILES = click.option(
    "--profiles",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A folder of your own boards (*.toml); by default edgex-profiles/ where it is.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(name="devices", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def command() -> None:
    """Say what is known of boards, and which one a machine is."""


@command.command(name="list")
@_PROFILES
@_JSON
def list_boards(profiles: tuple[Path, ...], as_json: bool) -> None:
    """List the boards that are known."""
    from edgex.cli.console import answers
    from edgex_devices.profile import all_profiles
    from edgex_runtime.schema import to_plain

    known = all_profiles(profiles or None)
    if as_json:
        click.echo(json.dumps([to_plain(profile) for profile in known], indent=2))
    else:
        answers().print(_table(known))


@command.command()
@click.argument("name")
@_PROFILES
@_JSON
def show(name: str, profiles: tuple[Path, ...], as_json: bool) -> None:
    """Show all that is known of one board, and which sources were read: raspberry-pi-5:trixie, or mine.toml."""
    from edgex.cli.console import answers
    from edgex_devices.profile import load_profile
    from edgex_runtime.schema import to_plain

    profile = load_profile(name, profiles or None)
    if as_json:
        click.echo(json.dumps(to_plain(profile), indent=2))
    else:
        _print(answers(), profile)


@command.command(name="detect")
@click.option("--host", metavar="HOST", help="As ssh takes it; by default this machine.")
@click.option("--python", metavar="PATH", help="The Python to ask there; by default python3.")
@click.option("--ssh-config", type=click.Path(path_type=Path, exists=True), help="Instead of your own (ssh -F).")
@_PROFILES
@_JSON
def detect_board(
    host: str | None, python: str | None, ssh_config: Path | None, profiles: tuple[Path, ...], as_json: bool
) -> int:
    """Say which board a machine is. Exit code 6 if it is none that is known."""
    from edgex_devices.detect import detect
    from edgex_devices.host import Host, probe
    from edgex_devices.profile import all_profiles
    from edgex_runtime.schema import to_plain

    facts, _ = probe(Host(name=host, python=python, ssh_config=ssh_config))
    profile = detect(facts, all_profiles(profiles or None))
    name = f"{profile.name}:{profile.system.name}" if profile else None
    if as_json:
        click.echo(json.dumps({"profile": name, "facts": to_plain(facts)}, indent=2))
    elif profile:
        click.echo(name)
        click.echo(f"{profile.title}; edgex devices show {name}", err=True)
    else:
        click.echo(f"no board is known with {facts.system.machine}; a new one is one file: docs/devices.md", err=True)
    return 0 if profile else EXIT_UNKNOWN


def _table(profiles: "tuple[Profile, ...]") -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column("name", no_wrap=True)
    for heading in ("board", "Python", "engines with wheels"):
        table.add_column(heading)
    for profile in profiles:
        pythons = ", ".join(system.python for system in profile.systems)
        engines = ", ".join(dict.fromkeys(engine.name for engine in profile.engines))
        others = [f"{system.name}: {', '.join(system.wheels)}" for system in profile.systems if system.wheels]
        table.add_row(profile.name, profile.title, pythons, engines or "; ".join(["none", *others]))
    return table


def _print(console: "Console", profile: "Profile") -> None:
    from rich.markup import escape
    from rich.table import Table

    def facts(title: str, rows: list[tuple[str, str]]) -> None:
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(f"[bold]{escape(name)}[/bold]", escape(value))
        console.print(table)

    facts(profile.title, _board_rows(profile))
    facts("Systems", [row for system in range(len(profile.systems)) for row in _system_rows(profile, system)])
    engines = [
        (
            f"{engine.name} on {engine.device}",
            _lines(f"edgex[{engine.extra}]: {engine.why}", _source(engine.source, engine.read)),
        )
        for engine in profile.preferred
    ]
    facts("Engines, the preferred first", engines)
    readings: list[tuple[str, str]] = [
        (item.what, _lines(f"{item.file or item.command} ({item.unit})", _source(item.source, item.read)))
        for item in profile.readings
    ]
    facts("Readings", readings)
    traps = [("•", _lines(trap.what, f"→ {trap.mend}", _source(trap.source, trap.read))) for trap in profile.traps]
    facts("Traps", traps)


def _source(source: str, read: str) -> str:
    """Who says so, and whether one of us has looked."""
    return f"  {source} ({f'read {read}' if read else 'not read by us'})" if source else ""


def _lines(*lines: str) -> str:
    return "\n".join(filter(None, lines))


def _board_rows(profile: "Profile") -> list[tuple[str, str]]:
    wanted = profile.recognise
    signs = [*wanted.device_tree, *wanted.dmi, *([wanted.accelerator] if wanted.accelerator else [])]
    limit = profile.memory_limit_mb
    return [
        ("name", profile.name),
        ("recognised by", _lines(", ".join([wanted.machine, *signs]), _source(wanted.source, wanted.read))),
        ("threads", str(profile.threads or UNKNOWN)),
        ("memory", f"{', '.join(map(str, profile.memory_mb))} MB" if profile.memory_mb else UNKNOWN),
        ("memory limit", f"{limit} MB, half of the smallest" if limit else UNKNOWN),
        ("camera", profile.camera),
        *(("source", _source(source, profile.read).strip()) for source in profile.sources),
    ]


def _system_rows(profile: "Profile", index: int) -> list[tuple[str, str]]:
    system = profile.systems[index]
    wheels = [f"{name}: {wheel.package} {wheel.version} ({wheel.tag})" for name, wheel in system.wheels.items()]
    if not system.runs_edgex:
        wheels = ["edgex does not run on this Python: it is too old"]
    looked = f", wheels as of {system.checked}" if system.checked else ""
    title = f"{system.title}: Python {system.python}, glibc {system.glibc or UNKNOWN}{looked}"
    return [(system.name, _lines(title, *wheels, _source(system.source, system.read)))]
