"""What is known of a board: one TOML file each, read into a `Profile`. What is not known is None and is shown so.

Each fact names its source, and `read` beside it the day on which somebody found the fact there. A source without one
was written down from memory, and is shown so.

The files of `profiles/` come with edgex. A user adds a board by one file in `edgex-profiles/` beside the project, or
names the file itself: `load_profile("my-board.toml")`.
"""

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Literal

from edgex_runtime.engines.engine import Device
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.schema import from_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA_VERSION = 1
OWN_FOLDER = Path("edgex-profiles")
_SHIPPED_FOLDER = Path(__file__).with_name("profiles")
# What pyproject.toml asks of Python.
OLDEST_PYTHON = (3, 10)
_OLDEST_MANYLINUX = 17

Accelerator = Literal["nvidia", "intel-gpu", "intel-npu", "edge-tpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognise:
    """How a board is told from others; what is given must hold, all of it.

    Attributes:
        machine: ``uname -m``.
        device_tree: Patterns (fnmatch), one of which one of the device tree's ``compatible`` strings matches.
        dmi: Patterns, one of which ``vendor product`` of the DMI matches.
        accelerator: What has to be there beside the CPU.
        source: Where these names are written down.
        read: When somebody found them there.
    """

    machine: str
    device_tree: tuple[str, ...] = ()
    dmi: tuple[str, ...] = ()
    accelerator: Accelerator | None = None
    source: str = ""
    read: str = ""

    def __post_init__(self) -> None:
        _check_read(self.read, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that the registry had when somebody looked: `System.checked` says when."""

    package: str
    version: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """An operating system of a board.

    Attributes:
        name: ``bookworm``; after a colon in a profile's name: ``raspberry-pi-5:bookworm``.
        title: As its makers write it.
        python: Of the system: ``3.11``.
        glibc: ``2.36``: which manylinux wheels it takes; empty where it is not known.
        wheels: Engine → the wheel that there is for this Python and glibc. An engine without one cannot be installed
            from the registry here.
        checked: ISO date on which the wheels were asked for.
        source: Where Python and glibc are written down.
        read: When somebody found them there.
    """

    name: str
    title: str
    python: str
    glibc: str = ""
    wheels: Mapping[str, Wheel] = field(default_factory=dict)
    checked: str = ""
    source: str = ""
    read: str = ""

    def __post_init__(self) -> None:
        _check_date("checked", self.checked)
        _check_read(self.read, self.source)
        if not all(part.isdigit() for part in self.python.split(".")) or self.python.count(".") != 1:
            raise ValueError(f"python: want a version as 3.11, got {self.python!r}")
        if self.wheels and not (self.glibc and self.checked):
            raise ValueError("wheels: want glibc and the date (checked) beside them")
        if self.wheels and not self.runs_edgex:
            raise ValueError(f"wheels: edgex needs Python {oldest_python()} or newer, {self.name} has {self.python}")

    @property
    def runs_edgex(self) -> bool:
        """Whether its Python is one that edgex supports."""
        return tuple(map(int, self.python.split("."))) >= OLDEST_PYTHON


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """An engine that suits a board.

    Attributes:
        name: Of edgex's engine.
        extra: ``pip install 'edgex[extra]'``.
        device: What it runs on there.
        why: What speaks for this place in the order.
        origin: ``registry`` for a wheel that pip finds, ``vendor`` for one that the board's maker gives out.
        source: For ``vendor``: where.
        read: When somebody found it there.
    """

    name: str
    extra: str
    device: Device = "cpu"
    why: str
    origin: Literal["registry", "vendor"] = "registry"
    source: str = ""
    read: str = ""

    def __post_init__(self) -> None:
        _check_read(self.read, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Where the board says how it is: a file or a command.

    Attributes:
        what: ``temperature``, ``throttling``, ``power``.
        file: A pattern of sysfs files; empty where `command` is given.
        command: What to run; empty where `file` is given.
        unit: Of the number: ``millidegree``, ``bits``, ``flag``, ``text``.
        source: Where this is written down.
        read: When somebody found it there.
    """

    what: Literal["temperature", "throttling", "power"]
    file: str = ""
    command: str = ""
    unit: Literal["millidegree", "bits", "flag", "text"]
    source: str = ""
    read: str = ""

    def __post_init__(self) -> None:
        _check_read(self.read, self.source)
        if bool(self.file) == bool(self.command):
            raise ValueError(f"{self.what}: want a file or a command, one of the two")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """What goes wrong on this board again and again: what it is, what mends it, who says so, and who has looked."""

    what: str
    mend: str
    source: str
    read: str = ""

    def __post_init__(self) -> None:
        _check_read(self.read, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One board, on the first of its systems.

    Attributes:
        name: ``raspberry-pi-5``.
        title: What its maker calls it.
        arch: Of its wheels: ``aarch64`` or ``x86_64``.
        recognise: How it is told from others.
        systems: That it runs; the first is the one that `python`, `platforms` and `engines` speak of.
        preferred: Engines from the best to the last, whether or not they can be installed on the first system.
        threads: For the engine: its fast cores; None is unknown.
        memory_mb: The sizes it is sold with, smallest first; empty is unknown.
        camera: What `edgex live` opens there by default.
        readings: Where it says how warm it is, whether it throttles, and how its power is.
        traps: What goes wrong.
        sources: Where threads and memory are written down.
        read: When somebody found them there.
        schema: Version of this schema.
    """

    name: str
    title: str
    arch: Literal["aarch64", "x86_64"]
    recognise: Recognise
    systems: tuple[System, ...]
    preferred: tuple[EngineChoice, ...]
    threads: int | None = None
    memory_mb: tuple[int, ...] = ()
    camera: str = "0"
    readings: tuple[Reading, ...] = ()
    traps: tuple[Trap, ...] = ()
    sources: tuple[str, ...] = ()
    read: str = ""
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        _check_read(self.read, "".join(self.sources))
        if self.schema != SCHEMA_VERSION:
            raise ValueError(f"this edgex reads profiles of schema {SCHEMA_VERSION}, this one is of {self.schema}")
        if not self.systems:
            raise ValueError("systems: want one or more")
        known = {engine.name for engine in self.preferred}
        for system in self.systems:
            if unknown := set(system.wheels) - known:
                raise ValueError(f"systems.{system.name}.wheels: {', '.join(sorted(unknown))} is none of the engines")

    @property
    def system(self) -> System:
        """The system that it is on."""
        return self.systems[0]

    @property
    def python(self) -> str:
        """Of the system: ``3.11``."""
        return self.system.python

    @property
    def platforms(self) -> tuple[str, ...]:
        """What its pip takes, best first, for ``pip download --platform``; pip does not take older ones by itself."""
        if not self.system.glibc:
            return ()
        minor = int(self.system.glibc.partition(".")[2])
        newest_first = range(minor, _OLDEST_MANYLINUX - 1, -1)
        return (*(f"manylinux_2_{n}_{self.arch}" for n in newest_first), f"manylinux2014_{self.arch}")

    @property
    def engines(self) -> tuple[EngineChoice, ...]:
        """Those that a wheel in the registry exists for on this system, from the best to the last."""
        return tuple(
            engine for engine in self.preferred if engine.origin == "registry" and engine.name in self.system.wheels
        )

    @property
    def memory_limit_mb(self) -> int | None:
        """Half of the smallest size that it is sold with (a rule of ours); None where that is unknown."""
        return min(self.memory_mb) // 2 if self.memory_mb else None

    def on(self, system: str) -> "Profile":
        """The same board on another of its systems.

        Raises:
            BadInputError: If it is not one of them.
        """
        chosen = [item for item in self.systems if item.name == system]
        if not chosen:
            known = ", ".join(item.name for item in self.systems)
            raise BadInputError(f"{self.name}: want one of its systems ({known}), got {system!r}")
        return replace(self, systems=(*chosen, *(item for item in self.systems if item.name != system)))


def load_profile(name: str, folders: Sequence[Path] | None = None) -> Profile:
    """The profile of a board: ``raspberry-pi-5``, ``raspberry-pi-5:trixie`` or a file, ``boards/mine.toml``.

    Args:
        name: Of the board, or of a TOML file; after a colon one of its systems.
        folders: As for `all_profiles`.

    Raises:
        BadInputError: If there is none of that name; it says which is nearest.
        SpecError: If the file is no profile.
    """
    board, _, system = name.partition(":")
    profile = read_profile(Path(board)) if board.endswith(".toml") else _by_name(board, all_profiles(folders))
    return profile.on(system) if system else profile


def all_profiles(folders: Sequence[Path] | None = None) -> tuple[Profile, ...]:
    """Every board that is known: the user's own first, by name, since they win where a machine is both.

    Args:
        folders: Further TOML files, which stand in for shipped ones of the same name; by default those of
            `OWN_FOLDER` in the working folder, where it exists.

    Raises:
        BadInputError: If a folder is not there.
        SpecError: If a file is no profile.
    """
    own = ([OWN_FOLDER] if OWN_FOLDER.is_dir() else []) if folders is None else folders
    for folder in own:
        if not folder.is_dir():
            raise BadInputError(f"{folder}: want a folder of profiles (*.toml), it is none")
    theirs = _read_folders(own)
    ours = {name: profile for name, profile in _read_folders([_SHIPPED_FOLDER]).items() if name not in theirs}
    return (*theirs.values(), *ours.values())


def _read_folders(folders: Sequence[Path]) -> dict[str, Profile]:
    files = [file for folder in folders for file in folder.glob("*.toml")]
    return {file.stem: read_profile(file) for file in sorted(files, key=lambda file: file.stem)}


def read_profile(path: Path) -> Profile:
    """Read one file.

    Raises:
        SpecError: If it cannot be read, is no TOML, has an unknown key (the nearest known one is named), or its name
            is not the file's.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: want a board's profile in TOML: {error}") from error
    profile = from_plain(Profile, data, where=str(path))
    if profile.name != path.stem:
        raise SpecError(f"{path}: want name = {path.stem!r}, as the file is called, got {profile.name!r}")
    return profile


def _by_name(name: str, profiles: tuple[Profile, ...]) -> Profile:
    found = {profile.name: profile for profile in profiles}
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name, found, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(found)}"
    raise BadInputError(f"board {name!r} is not known; {hint} (a new board is one file: docs/devices.md)")


def _check_read(read: str, source: str) -> None:
    _check_date("read", read)
    if read and not source:
        raise ValueError(f"read: want the source that was read on {read} beside it")


def _check_date(key: str, text: str) -> None:
    try:
        if text:
            date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{key}: want a day as 2026-11-30, got {text!r}") from error


def oldest_python() -> str:
    """What edgex needs: ``3.10``."""
    return ".".join(map(str, OLDEST_PYTHON))
