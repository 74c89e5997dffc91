"""The boards of a fleet: one TOML file, each board as ssh knows it."""

import sys
from dataclasses import dataclass
from pathlib import Path

from edgex_devices.transport import Board
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.schema import from_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The file: its boards, and the version of its schema."""

    hosts: tuple[Board, ...]
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema != SCHEMA_VERSION:
            raise ValueError(f"this edgex reads inventories of schema {SCHEMA_VERSION}, this one is of {self.schema}")
        names = [board.name for board in self.hosts]
        if doubles := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"hosts: want each once, {', '.join(sorted(doubles))} stand more than once")


def read_inventory(path: Path) -> tuple[Board, ...]:
    """Read the boards of an inventory file.

    Raises:
        SpecError: If it is no TOML, or has an unknown key (the nearest known one is named).
        BadInputError: If there is no board in it.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: want an inventory in TOML: {error}") from error
    boards = from_plain(Inventory, data, where=str(path)).hosts
    if not boards:
        raise BadInputError(f"{path}: want one or more [[hosts]], there is none")
    return boards
