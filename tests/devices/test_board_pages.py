"""Every command of edgex on the pages of docs/boards is one that this version takes, for a board that it knows."""

import re
import shlex
from pathlib import Path

import click
import pytest

from edgex.cli.main import COMMANDS, edgex
from edgex_devices.profile import load_profile

PAGES = sorted((Path(__file__).parents[2] / "docs/boards").glob("*.md"))


def commands(page: Path) -> list[list[str]]:
    """The words of each, also of those that go to the board through ssh, in the indented lines of a page."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    shell = dict(re.findall(r'^    (\w)="(.*)"$', text, flags=re.MULTILINE))
    found = []
    for line in lines:
        for name, value in shell.items():
            line = line.replace(f"${name}", value)
        match = re.search(r"(?:^| )(?:\S*/)?(edgex|convert-model) ([^#']*)", line)
        if match:
            words = shlex.split(match[2])
            found.append(["convert", *words] if match[1] == "convert-model" else words)
    return [words for words in found if words and words[0] in COMMANDS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_this_version_takes_every_command(page: Path) -> None:
    found = commands(page)
    assert {"doctor", "convert", "keys", "bundle", "deploy", "live", "tune"} <= {words[0] for words in found}
    for words in found:
        context = edgex.make_context("edgex", words)
        name, command, rest = edgex.resolve_command(context, words)
        assert command is not None
        try:
            inner = command.make_context(name, rest, parent=context)
            if isinstance(command, click.Group):
                name, sub, rest = command.resolve_command(inner, rest)
                assert sub is not None
                sub.make_context(name, rest, parent=inner)
        except click.ClickException as error:
            pytest.fail(f"{' '.join(words)}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_board_is_known(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    boards = {*re.findall(r"--board ([a-z][\w.:-]*)", text), *re.findall(r"`([a-z][\w-]+:(?:python)?[\w.]+)`", text)}
    assert boards
    known = [board for board in boards if board not in ("my-board",)]
    assert all(load_profile(board, []).system for board in known)
