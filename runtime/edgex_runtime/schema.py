"""Plain data ↔ frozen dataclasses: the edge where JSON, TOML and model headers become typed objects.

A dataclass is its own schema: an unknown key is an error that names the nearest known one, a missing key and a value of
the wrong type are errors that name the place, and nothing is coerced but int → float.
"""

import difflib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from edgex_runtime.errors import SpecError

T = TypeVar("T")


def to_plain(value: object) -> Any:
    """Turn a dataclass into what `json.dumps` takes; tuples become lists, fields that hold None are kept."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def from_plain(kind: type[T], data: object, *, where: str) -> T:
    """Build `kind`, a dataclass, from plain data.

    Args:
        kind: The dataclass to build; its annotations are the schema.
        data: What `json.loads` or `tomllib.loads` returned.
        where: What the data is, for the messages: ``"spec.toml"``.

    Raises:
        SpecError: If a key is unknown or missing, or a value is of the wrong type or refused by `__post_init__`.
    """
    built: T = _decode(kind, data, where)
    return built


def _decode(kind: Any, data: object, where: str) -> Any:
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    if origin is Literal:
        if data not in get_args(kind):
            raise SpecError(f"{where}: want one of {', '.join(map(repr, get_args(kind)))}, got {data!r}")
        return data
    if origin in (Union, types.UnionType):
        return _decode_union(kind, data, where)
    if origin is tuple:
        return _decode_tuple(get_args(kind), data, where)
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(data, dict):
            raise SpecError(f"{where}: want a table, got {data!r:.80}")
        return {str(key): _decode(get_args(kind)[1], item, f"{where}.{key}") for key, item in data.items()}
    return _decode_scalar(kind, data, where)


def _decode_scalar(kind: Any, data: object, where: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind in (int, float) and isinstance(data, bool)):
        raise SpecError(f"{where}: want {kind.__name__}, got {data!r:.80}")
    return data


def _decode_union(kind: Any, data: object, where: str) -> Any:
    failures = []
    for option in get_args(kind):
        if option is type(None):
            if data is None:
                return None
            continue
        try:
            return _decode(option, data, where)
        except SpecError as error:
            failures.append(error)
    raise failures[-1]


def _decode_tuple(items: tuple[Any, ...], data: object, where: str) -> tuple[Any, ...]:
    if not isinstance(data, (list, tuple)):
        raise SpecError(f"{where}: want a list, got {data!r:.80}")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(data)
    if len(items) != len(data):
        raise SpecError(f"{where}: want {len(items)} values, got {len(data)}")
    return tuple(_decode(item, value, f"{where}[{i}]") for i, (item, value) in enumerate(zip(items, data, strict=True)))


def _decode_dataclass(kind: Any, data: object, where: str) -> Any:
    if not isinstance(data, dict):
        raise SpecError(f"{where}: want a table of {kind.__name__}, got {data!r:.80}")
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise SpecError(f"{where}: unknown key {key!r}{hint}")
    for name, field in known.items():
        if name not in data and field.default is MISSING and field.default_factory is MISSING:
            raise SpecError(f"{where}: {name!r} is missing")
    values = {name: _decode(hints[name], value, f"{where}.{name}") for name, value in data.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise SpecError(f"{where}: {error}") from error
