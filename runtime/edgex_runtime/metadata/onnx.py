"""ONNX: the contract is an entry of `metadata_props`; Ultralytics-style `names` stands beside it.

Read and written at the level of protobuf's wire format (https://protobuf.dev/programming-guides/encoding), so that no
vendor package is needed and the weights, one field of the top-level message, are skipped and never parsed.
"""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import ModelFileError
from edgex_runtime.metadata.carrier import CONTRACT_KEY, LARGEST_CONTRACT_BYTES, SEAL_KEY, Carried, copy_bytes
from edgex_runtime.spec import ModelSpec

# onnx.proto: ModelProto.metadata_props, repeated StringStringEntryProto {key = 1, value = 2}.
_METADATA_PROPS = 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_NAMES_KEY = "names"
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LARGEST_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One field of a message: its number, where it starts, where its payload lies, and where the next one starts."""

    number: int
    wire_type: int
    start: int
    payload: int
    end: int


def files(path: Path) -> tuple[Path, ...]:
    """The one file."""
    return (path,)


def spell(label: str) -> str:
    """As it is: `names` holds Python strings."""
    return label


def read(path: Path) -> Carried:
    """Read `metadata_props`."""
    with path.open("rb") as file:
        props = {key: value for _, key, value in _props(file, path)}
        content = tuple((field.start, field.end) for field in _fields(file, path) if field.number != _METADATA_PROPS)
    names = props.get(_NAMES_KEY)
    return Carried(
        contract=props.get(CONTRACT_KEY),
        labels=None if names is None else _parse_names(names),
        seal=props.get(SEAL_KEY),
        content=content,
    )


def write(path: Path, spec: ModelSpec, seal: str) -> None:
    """Copy every field but our entries, then append ours: the order of fields means nothing in protobuf."""
    ours = {CONTRACT_KEY: spec.to_json(), SEAL_KEY: seal, _NAMES_KEY: repr(dict(enumerate(spec.labels)))}
    with path.open("rb") as source:
        replaced = {field.start for field, key, _ in _props(source, path) if key in ours}
        kept = [field for field in _fields(source, path) if field.start not in replaced]
        with atomic_write(path) as target:
            for field in kept:
                source.seek(field.start)
                copy_bytes(source, target, field.end - field.start)
            for key, value in ours.items():
                target.write(_message(_METADATA_PROPS, _entry(key, value)))


def _props(file: BinaryIO, path: Path) -> Iterator[tuple[_Field, str, str]]:
    for field in _fields(file, path):
        if field.number == _METADATA_PROPS and field.wire_type == _LENGTH:
            if field.end - field.payload > LARGEST_CONTRACT_BYTES:
                raise ModelFileError(f"{path}: an entry of metadata_props has {field.end - field.payload} bytes")
            file.seek(field.payload)
            yield field, *_parse_entry(file.read(field.end - field.payload), path)


def _parse_entry(data: bytes, path: Path) -> tuple[str, str]:
    parts = {_ENTRY_KEY: b"", _ENTRY_VALUE: b""}
    for field in _fields(BytesIO(data), path):
        if field.wire_type == _LENGTH and field.number in parts:
            parts[field.number] = data[field.payload : field.end]
    try:
        return parts[_ENTRY_KEY].decode(), parts[_ENTRY_VALUE].decode()
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{path}: metadata_props is not UTF-8: {error}") from error


def _parse_names(text: str) -> tuple[str, ...] | None:
    """Labels of ``{0: 'daisy', 1: 'rose'}``; None for a text of another form, which other tools are free to write."""
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(names, dict) or sorted(map(str, names)) != sorted(map(str, range(len(names)))):
        return None
    return tuple(str(names.get(i, names.get(str(i)))) for i in range(len(names)))


def _fields(file: BinaryIO, path: Path) -> Iterator[_Field]:
    """Walk the fields of the message that the whole file is."""
    size = file.seek(0, os.SEEK_END)
    start = 0
    while start < size:
        file.seek(start)
        tag = _read_varint(file, path)
        wire_type, number = tag & 7, tag >> 3
        payload, end = _span(file, wire_type, path)
        if number == 0 or end > size:
            raise ModelFileError(f"{path}: not an ONNX file, or a truncated one (field {number} at byte {start})")
        yield _Field(number=number, wire_type=wire_type, start=start, payload=payload, end=end)
        start = end


def _span(file: BinaryIO, wire_type: int, path: Path) -> tuple[int, int]:
    if wire_type == _LENGTH:
        length = _read_varint(file, path)
        return file.tell(), file.tell() + length
    start = file.tell()
    if wire_type == _VARINT:
        _read_varint(file, path)
        return start, file.tell()
    if wire_type in (_FIXED32, _FIXED64):
        return start, start + (4 if wire_type == _FIXED32 else 8)
    raise ModelFileError(f"{path}: not an ONNX file: protobuf wire type {wire_type} at byte {start}")


def _read_varint(file: BinaryIO, path: Path) -> int:
    value = 0
    for i in range(_LARGEST_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << (7 * i)
        if not byte[0] & 0x80:
            return value
    raise ModelFileError(f"{path}: not an ONNX file, or a truncated one (a number without an end)")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _message(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(payload)) + payload


def _entry(key: str, value: str) -> bytes:
    return _message(_ENTRY_KEY, key.encode()) + _message(_ENTRY_VALUE, value.encode())
