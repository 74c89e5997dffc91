"""A flag for every field of a config: what may be typed is what the dataclass has, never a copy of it."""

import dataclasses
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


def flags(config: type, short: typing.Mapping[str, str]) -> Callable[[Command], Command]:
    """Give a command a flag for every field of a dataclass, with the field's type, default and ``help`` metadata.

    Args:
        config: The dataclass.
        short: Field → short flag: ``{"out": "-o"}``.
    """

    def add(command: Command) -> Command:
        hints = typing.get_type_hints(config)
        for item in reversed(dataclasses.fields(config)):
            command = _flag(item, hints[item.name], short.get(item.name))(command)
        return command

    return add


def _flag(item: "dataclasses.Field[Any]", hint: Any, short: str | None) -> Callable[[Command], Command]:
    name = item.name.replace("_", "-")
    settings: dict[str, Any] = {"help": item.metadata["help"]}
    if item.default is dataclasses.MISSING:
        settings["required"] = True
    else:
        settings |= {"default": item.default, "show_default": item.default is not None}
    # `X | None` is typing's own union where X is a Literal.
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    options = typing.get_args(hint) if is_union else (hint,)
    kind = next(option for option in options if option is not types.NoneType)
    if kind is bool:
        spelling = f"--{name}/--no-{name}" if item.default else f"--{name}"
        return click.option(spelling, item.name, is_flag=True, **settings)
    if typing.get_origin(kind) is typing.Literal:
        settings["type"] = click.Choice(typing.get_args(kind))
    elif kind is Path:
        settings["type"] = click.Path(path_type=Path)
    else:
        settings["type"] = kind
    return click.option(*([short] if short else []), f"--{name}", item.name, **settings)
