"""What `edgex deploy status|logs|bench` prints: each board's answer when it is there, and figures as one table."""

import json
from typing import TYPE_CHECKING, Any

import click

from edgex.cli.console import answers
from edgex.cli.figures import add_columns, cells, temperature

if TYPE_CHECKING:
    from edgex_devices.deploy import HostResult
    from edgex_devices.tuning.board_bench import BoardBench


class Answers:
    """Takes boards' answers.

    Args:
        as_json: Print JSON lines.
        several: Whether more than one board was asked: then each line of a log says whose it is.
    """

    def __init__(self, *, as_json: bool, several: bool) -> None:
        self._as_json = as_json
        self._several = several
        self._benches: list[BoardBench] = []

    def take(self, host: str, answer: dict[str, Any]) -> "HostResult | None":
        """Show it, now or at the end.

        Returns:
            What is wrong with the board, if the answer says so.
        """
        if answer["outcome"] == "benched":
            return self._take_bench(host, answer)
        if self._as_json:
            click.echo(json.dumps({"host": host, **answer}))
        elif answer["outcome"] == "logs":
            click.echo(_log(host, answer["text"]) if self._several else answer["text"], nl=False)
        else:
            click.echo(_status(host, answer))
        return _damaged(host, answer)

    def close(self) -> None:
        """Print the table, if there is one."""
        if self._benches and not self._as_json:
            _print_benches(self._benches)

    def _take_bench(self, host: str, answer: dict[str, Any]) -> "HostResult | None":
        from edgex_devices.deploy import HostResult
        from edgex_devices.tuning.board_bench import read_answer
        from edgex_runtime.schema import to_plain

        bench = read_answer(host, answer)
        self._benches.append(bench)
        if self._as_json:
            click.echo(json.dumps(to_plain(bench)))
        if bench.serves:
            return None
        return HostResult(host=host, outcome="failed", release=bench.release, why=answer["why"], kind="DeployError")


def _damaged(host: str, answer: dict[str, Any]) -> "HostResult | None":
    from edgex_devices.deploy import HostResult

    if not answer.get("damage"):
        return None
    why = f"{', '.join(answer['damage'])}: not what was installed (does its disk fail?): deploy its bundle again"
    serving = answer["serving"]
    return HostResult(host=host, outcome="damaged", release=serving or "", serving=serving, why=why, kind="DeployError")


def _log(host: str, text: str) -> str:
    return "".join(f"{host}: {line}\n" for line in text.splitlines())


def _status(host: str, answer: dict[str, Any]) -> str:
    health = answer["health"] or {}
    runs = "runs" if answer["active"] else "does not run"
    lines = [f"{host}: serves {answer['serving'] or 'nothing'}, it {runs}; before it {answer['previous'] or 'nothing'}"]
    if health and answer["active"]:
        age = "" if health["age_ms"] is None else f", the newest {health['age_ms']:.0f} ms old"
        lines.append(f"  {health['state']}: {health['frames']} frames{age}; last label {health['label']}")
    if answer["damage"] is not None and not answer["damage"]:
        lines.append("  every file is what was installed")
    for event in answer["history"]:
        why = f": {event['why']}" if event["why"] else ""
        lines.append(f"  {event['at']}  {event['release']}  {event['outcome']}{why}")
    return "\n".join(lines)


def _print_benches(benches: "list[BoardBench]") -> None:
    from pathlib import Path

    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    table.add_column("host", no_wrap=True)
    table.add_column("model", overflow="fold", min_width=14)
    table.add_column("by", overflow="fold", min_width=12)
    add_columns(table)
    table.add_column("heat", no_wrap=True)
    for bench in sorted(benches, key=lambda bench: bench.host):
        item, figures = bench.candidate, bench.figures
        ran_on = "" if figures.ran_on == "cpu" else f" ({figures.ran_on})"
        way = f"{item.engine}{ran_on}{f', {item.threads} thr' if item.threads else ''}"
        name = escape(Path(item.model).name)
        table.add_row(escape(bench.host), name, way, *cells(figures), temperature(figures) or "unknown")
    console = answers()
    console.print(table)
    for bench in benches:
        for remark in bench.remarks:
            console.print(f"[yellow]{escape(bench.host)}[/yellow]: {escape(remark)}", soft_wrap=True)
