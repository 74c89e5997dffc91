"""``1280x720`` on a command line."""

import re

import click


def size(_: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    """Width and height.

    Raises:
        click.BadParameter: If it is anything else.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value)
    if not found:
        raise click.BadParameter(f"want a size as 1280x720, got {value!r}", param=option)
    return int(found[1]), int(found[2])
