"""Where answers are printed: stdout, as wide as its terminal."""

from rich.console import Console

WIDTH = 110


def answers() -> Console:
    """A console on stdout; into a file or a pipe, which have no width, lines have `WIDTH` columns."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)
