"""The table of engines: which vendor runs which file. A row is imported when a model first asks for it.

A third party joins with an entry point of the group `edgex.engines` whose object is an `Entry`.
"""

import difflib
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from pathlib import Path
from typing import get_args

from edgex_runtime.engines.engine import Device, Engine, EngineOptions
from edgex_runtime.errors import BadInputError, MissingExtraError, ModelFileError

GROUP = "edgex.engines"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row.

    Attributes:
        target: ``module:Class``.
        extra: What to install: ``pip install 'edgex[extra]'``.
        vendors: Top-level modules of which one must be installed.
        suffixes: Files that it is chosen for.
        by_name: Further files that it runs when it is asked for by name.
        may_crash: Whether a damaged file can end the process: such a file is tried in another one first.
    """

    target: str
    _: KW_ONLY
    extra: str
    vendors: tuple[str, ...]
    suffixes: tuple[str, ...]
    by_name: tuple[str, ...] = ()
    may_crash: bool = False


_HOME = "edgex_runtime.engines"
ENGINES: dict[str, Entry] = {
    "onnxruntime": Entry(
        f"{_HOME}.onnxruntime:OnnxRuntimeEngine",
        extra="onnx",
        vendors=("onnxruntime",),
        suffixes=(".onnx",),
        may_crash=True,
    ),
    "openvino": Entry(
        f"{_HOME}.openvino:OpenVinoEngine",
        extra="openvino",
        vendors=("openvino",),
        suffixes=(".xml",),
        by_name=(".onnx",),
        may_crash=True,
    ),
    "tflite": Entry(
        f"{_HOME}.tflite:TfliteEngine",
        extra="tflite",
        vendors=("ai_edge_litert", "tflite_runtime"),
        suffixes=(".tflite",),
        may_crash=True,
    ),
    "torch": Entry(f"{_HOME}.torch:TorchEngine", extra="torch", vendors=("torch",), suffixes=(".safetensors",)),
    "fake": Entry(f"{_HOME}.fake:FakeEngine", extra="", vendors=(), suffixes=(), by_name=(".safetensors",)),
}


# An engine's class, as it is built.
EngineType = Callable[[Path, EngineOptions], Engine]


def engine_for(path: Path, name: str | None = None) -> EngineType:
    """The engine's class for a model file, imported.

    Raises:
        BadInputError: As `entry_for`.
        ModelFileError: As `entry_for`.
        MissingExtraError: If its vendor's package is not installed.
    """
    return _load(*entry_for(path, name))


def entry_for(path: Path, name: str | None = None) -> tuple[str, Entry]:
    """The row for a model file, with its name: the one that is named, else the one that its suffix is for.

    Raises:
        BadInputError: If there is no engine of that name, or it does not run such files.
        ModelFileError: If no engine runs such files.
    """
    suffix = path.suffix.lower()
    if name is None:
        name, entry = _by_suffix(path, suffix)
    else:
        entry = _by_name(name)
    if suffix not in entry.suffixes + entry.by_name:
        wanted = ", ".join(entry.suffixes + entry.by_name)
        raise BadInputError(f"{path}: engine {name!r} runs {wanted}, not {suffix or 'a file without a suffix'!r}")
    return name, entry


def open_engine(path: Path, options: EngineOptions, name: str | None = None) -> Engine:
    """Load a model file into its engine.

    Raises:
        BadInputError: As `engine_for`, or if there is no such kind of device.
        MissingExtraError: As `engine_for`.
        ModelFileError: If the engine cannot load the file.
        DeviceUnavailableError: If the device that was asked for is not there.
    """
    if options.device not in get_args(Device):
        raise BadInputError(f"device {options.device!r} is not known; known are {', '.join(get_args(Device))}")
    build = engine_for(path, name)
    if not path.is_file():
        raise ModelFileError(f"{path}: there is no such file")
    return build(path, options)


def _load(name: str, entry: Entry) -> EngineType:
    module, _, attribute = entry.target.partition(":")
    try:
        kind: EngineType = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        # Only the vendor's absence: a module of ours, or of the vendor's own, that is not there is a bug to be seen.
        if error.name not in entry.vendors:
            raise
        raise MissingExtraError(f"engine {name!r} is not installed: pip install 'edgex[{entry.extra}]'") from error
    return kind


def _by_name(name: str) -> Entry:
    if name in ENGINES:
        return ENGINES[name]
    others = _third_parties()
    if name in others:
        return others[name]
    known = [*ENGINES, *others]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    raise BadInputError(f"engine {name!r} is not known; {hint}")


def _by_suffix(path: Path, suffix: str) -> tuple[str, Entry]:
    for name, entry in ENGINES.items():
        if suffix in entry.suffixes:
            return name, entry
    others = _third_parties()
    for name, entry in others.items():
        if suffix in entry.suffixes:
            return name, entry
    wanted = sorted({known for entry in (*ENGINES.values(), *others.values()) for known in entry.suffixes})
    raise ModelFileError(f"{path}: want a model file ({', '.join(wanted)}), got {suffix or 'no suffix'!r}")


def _third_parties() -> dict[str, Entry]:
    # Imported here: it brings 2 MB of modules, which a board that runs what we ship never needs.
    from importlib.metadata import entry_points

    return {point.name: point.load() for point in entry_points(group=GROUP)}
