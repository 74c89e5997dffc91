"""`edgex deploy HOST…`: bring a bundle to boards, or ask them how they are, or to go back."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgex.cli.sizes import size
from edgex_runtime import errors
from edgex_runtime.errors import BadInputError

if TYPE_CHECKING:
    from rich.table import Table

    from edgex_devices.deploy import DeployOptions, HostResult
    from edgex_devices.transport import Board

ACTIONS = ("status", "rollback", "logs", "bench")
_PATH = click.Path(path_type=Path)
_COLORS = {"deployed": "green", "unchanged": "green", "would deploy": "cyan", "skipped": "yellow"}
_MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployConfig:
    """What was typed."""

    words: tuple[str, ...]
    bundle: Path | None
    app: str | None
    inventory: Path | None
    service: str
    root: str
    python: str
    sudo: bool | None
    ssh: str
    ssh_config: Path | None
    parallel: int
    canary: int
    retries: int
    dry_run: bool
    trust_key: bool
    key: Path | None
    lines: int
    verify: bool
    rounds: int
    seconds: float
    frame: tuple[int, int]
    beside: bool
    json: bool

    @property
    def action(self) -> str:
        """``deploy``, or the first word where it is one of `ACTIONS`."""
        return self.words[0] if self.words[:1] and self.words[0] in ACTIONS else "deploy"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The words that are hosts."""
        return self.words if self.action == "deploy" else self.words[1:]


@click.command(epilog="Exit codes: 0 all boards serve the release, 4 predictions differ, 6 unreachable, else 1.")
@click.argument("words", nargs=-1, metavar="[status|rollback|logs|bench] HOST...")
@click.option("--bundle", "-b", type=_PATH, metavar="F", help="What `edgex bundle` made: the folder or the archive.")
@click.option("--app", metavar="NAME", help="With status, rollback, logs and bench: which app.")
@click.option("--inventory", type=_PATH, metavar="FILE", help="Boards in a TOML file, beside or instead of HOSTs.")
@click.option("--service", default="systemd", show_default=True, help="systemd, systemd-user or process (no systemd).")
@click.option("--root", default="", metavar="DIR", help="With --service process: the app's folder on the board.")
@click.option("--python", default="python3", show_default=True, help="The Python that runs the agent on the board.")
@click.option("--sudo/--no-sudo", default=None, help="By default for --service systemd, unless the user is root.")
@click.option("--ssh", default="ssh", metavar="PROGRAM", help="Instead of OpenSSH's ssh, with its options.")
@click.option("--ssh-config", type=_PATH, metavar="FILE", help="Instead of your own ~/.ssh/config.")
@click.option("--parallel", type=click.IntRange(1), default=16, show_default=True, help="Boards at a time.")
@click.option(
    "--canary", type=click.IntRange(0), default=0, metavar="N", help="N boards first, the others if all is well."
)
@click.option("--retries", type=click.IntRange(0), default=2, show_default=True, help="After a broken connection.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--trust-key", is_flag=True, help="Let boards that trust another key trust this one too.")
@click.option("--key", type=_PATH, help="Whose public half verifies the bundle.  [default: that of `edgex keys`]")
@click.option("--lines", type=click.IntRange(1), default=50, show_default=True, help="Of the log.")
@click.option("--verify", is_flag=True, help="With status: hold every installed file to what was installed.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Of bench: how often.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True, help="Of bench: for how long."
)
@click.option("--frame", callback=size, default="1280x720", show_default=True, metavar="WxH", help="Of bench.")
@click.option("--beside", is_flag=True, help="With bench: let the service run meanwhile; by default it is paused.")
@click.option("--json", is_flag=True, help="Print results as JSON lines, each when it is known.")
def command(**typed: object) -> int:
    """Bring a bundle to each HOST by your own ssh; a board on which anything differs goes back by itself."""
    config = DeployConfig(**typed)  # type: ignore[arg-type]  # click has checked them
    boards = _boards(config)
    results = []
    try:
        for result in _deploy(config, boards) if config.action == "deploy" else _ask(config, boards):
            results.append(result)
            _tell(result, as_json=config.json)
    finally:
        # After Ctrl-C, too: whoever has a fleet wants to know which boards were done.
        if results and not config.json:
            _print(results)
    return exit_code(results)


def exit_code(results: "Sequence[HostResult]") -> int:
    """0 if all is well; what is wrong, if that is the same everywhere; else 1."""
    from edgex.cli.main import EXIT_CODES

    codes = set()
    for result in results:
        if not result.is_good and result.outcome != "skipped":
            kind = getattr(errors, result.kind, errors.DeployError)
            codes.add(next(EXIT_CODES[base] for base in kind.__mro__ if base in EXIT_CODES))
    return codes.pop() if len(codes) == 1 else int(bool(codes))


def _boards(config: DeployConfig) -> "tuple[Board, ...]":
    from edgex_devices.agent.service import SERVICES
    from edgex_devices.inventory import read_inventory
    from edgex_devices.transport import Board

    if config.service not in SERVICES:
        raise click.UsageError(f"--service: want one of {', '.join(SERVICES)}, got {config.service!r}")
    listed = read_inventory(config.inventory) if config.inventory else ()
    typed = tuple(
        Board(name=name, service=config.service, root=config.root, python=config.python, sudo=config.sudo)
        for name in dict.fromkeys(config.hosts)
    )
    if not listed and not typed:
        raise click.UsageError("want one or more HOSTs, or an --inventory")
    known = {board.name for board in typed}
    return (*typed, *(board for board in listed if board.name not in known))


def _options(config: DeployConfig) -> "DeployOptions":
    from edgex_devices.deploy import DeployOptions
    from edgex_devices.ssh import Ssh

    return DeployOptions(
        ssh=Ssh(program=config.ssh, config=config.ssh_config),
        parallel=config.parallel,
        canary=config.canary,
        retries=config.retries,
        dry_run=config.dry_run,
        trust_key=config.trust_key,
    )


def _deploy(config: DeployConfig, boards: "tuple[Board, ...]") -> "Iterator[HostResult]":
    from edgex_devices.bundle import open_bundle
    from edgex_devices.deploy import deploy
    from edgex_devices.keys import default_key_path, load_public

    if config.bundle is None:
        raise click.UsageError("want --bundle F, what `edgex bundle` made")
    public = load_public(config.key or default_key_path())
    with open_bundle(config.bundle, public) as (folder, manifest):
        click.echo(f"{manifest.app} for {manifest.board}, release {manifest.release}", err=True)
        yield from deploy(boards, folder, manifest, public, _options(config), _say)


def _ask(config: DeployConfig, boards: "tuple[Board, ...]") -> "Iterator[HostResult]":
    from edgex.cli.deploy_answers import Answers
    from edgex_devices.agent.wire import Request
    from edgex_devices.deploy import HostResult, ask_each

    if not config.app:
        raise BadInputError(f"{config.action}: want --app NAME, as it was bundled")
    width, height = config.frame
    request = Request(
        action=config.action,
        app=config.app,
        lines=config.lines,
        verify=config.verify,
        rounds=config.rounds,
        seconds=config.seconds,
        width=width,
        height=height,
        beside=config.beside,
    )
    answers = Answers(as_json=config.json, several=len(boards) > 1)
    try:
        for board, answer in ask_each(boards, request, _options(config), _say):
            result = answer if isinstance(answer, HostResult) else answers.take(board.name, answer)
            if result is not None:
                yield result
    finally:
        answers.close()


def _say(host: str, step: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{click.style(host, bold=True)}: {step.replace('-', ' ')}", err=True)


def _tell(result: "HostResult", *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(result)))
    elif not result.is_good:
        click.echo(f"{result.host}: {result.outcome}: {result.why}", err=True)


def _print(results: "Sequence[HostResult]") -> None:
    from edgex.cli.console import answers

    answers().print(_table(results))


def _table(results: "Sequence[HostResult]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2))
    for heading in ("host", "outcome", "serves", "copied", "time"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what was seen")
    for result in sorted(results, key=lambda result: result.host):
        color, figures = _COLORS.get(result.outcome, "red"), result.figures
        seen = [result.why] if result.why else []
        if figures:
            seen.insert(
                0, f"{figures['frames']} frames in {figures['seconds']:.1f} s, oldest {figures['max_age_ms']:.0f} ms"
            )
        table.add_row(
            escape(result.host),
            f"[{color}]{result.outcome}[/{color}]",
            result.serving or "–",
            f"{result.received_bytes / _MB:.1f} MB",
            f"{result.seconds:.1f} s",
            escape("; ".join(seen)),
        )
    return table
