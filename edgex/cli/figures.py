"""How measured figures are printed: the columns that `edgex bench` and `edgex deploy bench` share."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from edgex_devices.tuning.bench import BenchFigures, Times

COLUMNS = ("engine ms", "predict ms", "±", "fps", "CPU ms", "start s", "MB")


def add_columns(table: "Table") -> None:
    """The headings; times are the median, and what nine of ten frames kept."""
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)


def cells(figures: "BenchFigures") -> tuple[str, ...]:
    """A row's part below `COLUMNS`."""
    spread = f"{figures.predict_ms.spread:.2g}" if figures.rounds > 1 else "–"
    return (
        _times(figures.engine_ms),
        _times(figures.predict_ms),
        spread,
        f"{figures.fps:.3g}",
        f"{figures.cpu_ms:.3g}",
        f"{figures.start_s:.2f}",
        f"{figures.resident_mb:.0f}",
    )


def temperature(figures: "BenchFigures") -> str:
    """``48 → 61 °C``; empty where the machine does not tell."""
    before, after = figures.celsius
    return "" if before is None or after is None else f"{before:.0f} → {after:.0f} °C"


def _times(times: "Times") -> str:
    return f"{times.median:.3g} · {times.p90:.3g}"
