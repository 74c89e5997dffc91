"""What the pipeline's progress and its results look like on a terminal."""

import os
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from edgex.cli.console import answers
from edgex_converters.result import Conversion, Outcome

_MARKS = {"passed": "[green]✓ passed[/]", "failed": "[red]✗ failed[/]", "broken": "[red]✗ not made[/]"}


class PipelineProgress:
    """A bar for the step at hand, and a line for each verdict; both on stderr, the bar on a terminal only."""

    def __init__(self) -> None:
        # The tools' own chatter is redirected at the descriptor: this is a copy from before.
        self._stream = os.fdopen(os.dup(2), "w", encoding="utf-8")
        self.console = Console(file=self._stream)
        self._bars = Progress(
            TextColumn("[bold]{task.description:<34}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "PipelineProgress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, step: str) -> None:
        """See `Observer.begin`."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(step, total=None)

    def advance(self, done: int, total: int) -> None:
        """See `Observer.advance`."""
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total)

    def finish(self, outcome: Outcome) -> None:
        """See `Observer.finish`."""
        took = "from the cache" if outcome.cached else f"{outcome.seconds:.0f} s"
        line = f"{_MARKS[outcome.status]} {outcome.target} [dim]{took}[/]  {escape(outcome.why)}"
        self.console.print(line.rstrip(), soft_wrap=True)

    def note(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(line, highlight=False)

    def table(self, conversion: Conversion) -> None:
        """Print what was made, on stdout: it is the answer."""
        answers().print(gate_table(conversion))

    def warnings(self, conversion: Conversion) -> None:
        """Print what the user should know of the photos, and of what took their place."""
        if conversion.learned_ranges:
            self.note(f"int8 takes {conversion.learned_ranges} activation ranges that the checkpoint has learned")
        for line in conversion.warnings:
            self.console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def gate_table(conversion: Conversion) -> Table:
    """One row an artifact; every figure on the evaluation images, in the artifact's own engine."""
    table = Table(
        title=f"{conversion.spec.name}: {len(conversion.labels)} evaluation images, "
        f"the network itself {conversion.reference_accuracy:.1%}",
        title_justify="left",
    )
    for heading in ("artifact", "gate"):
        table.add_column(heading, no_wrap=True)
    for heading in ("MB", "top-1", "95 % interval", "agrees", "SQNR dB", "ms / image"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in conversion.outcomes:
        table.add_row(str(outcome.target), _MARKS[outcome.status], *_figures(outcome))
    return table


def _figures(outcome: Outcome) -> tuple[str, ...]:
    measured = outcome.measured
    if measured is None:
        return ("",) * 6
    return (
        f"{outcome.bytes / 1e6:.1f}",
        f"{measured.accuracy:.1%}",
        f"{measured.accuracy_low:.1%} – {measured.accuracy_high:.1%}",
        f"{measured.agreement:.1%}",
        f"{measured.sqnr_db:.1f}",
        "" if outcome.ms is None else f"{outcome.ms:.1f}",
    )
