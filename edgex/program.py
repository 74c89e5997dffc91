"""Where the installed programs begin: before the command line is imported, Ctrl-C is seen to."""

from edgex.interrupt import LeavesAtOnce


def main() -> None:
    """`edgex …`."""
    with LeavesAtOnce():
        from edgex.cli import main as command_line
    command_line()


def convert_model() -> None:
    """`convert-model …`, which is `edgex convert` under the name its users type."""
    with LeavesAtOnce():
        from edgex.cli import convert_model as command_line
    command_line()
