"""Safetensors: the contract is a string of the header's `__metadata__`.

The format (https://github.com/huggingface/safetensors#format): eight bytes of header length, little-endian; that many
bytes of JSON; the tensors' bytes, whose offsets count from the header's end, so that the header may grow.
"""

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any, BinaryIO

from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import ModelFileError
from edgex_runtime.metadata.carrier import CONTRACT_KEY, SEAL_KEY, Carried
from edgex_runtime.spec import ModelSpec

_METADATA = "__metadata__"
_LENGTH = struct.Struct("<Q")
# The limit of the reference implementation.
_LARGEST_HEADER_BYTES = 100_000_000
_ALIGNMENT = 8


def files(path: Path) -> tuple[Path, ...]:
    """The one file."""
    return (path,)


def spell(label: str) -> str:
    """As it is: the format has no field of its own for labels."""
    return label


def read(path: Path) -> Carried:
    """Read the header."""
    with path.open("rb") as file:
        metadata = _read_header(file, path).get(_METADATA, {})
        content = (file.tell(), file.seek(0, os.SEEK_END))
    return Carried(contract=metadata.get(CONTRACT_KEY), labels=None, seal=metadata.get(SEAL_KEY), content=(content,))


def write(path: Path, spec: ModelSpec, seal: str) -> None:
    """Write a new header before the same tensors."""
    with path.open("rb") as source:
        header = _read_header(source, path)
        header[_METADATA] = {**header.get(_METADATA, {}), CONTRACT_KEY: spec.to_json(), SEAL_KEY: seal}
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        # Tensors start at a multiple of 8, which the reference implementation promises to its readers.
        text += b" " * (-len(text) % _ALIGNMENT)
        with atomic_write(path) as target:
            target.write(_LENGTH.pack(len(text)) + text)
            shutil.copyfileobj(source, target)


def _read_header(file: BinaryIO, path: Path) -> dict[str, Any]:
    """Leave the file at the first tensor's first byte."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    prefix = file.read(_LENGTH.size)
    length = _LENGTH.unpack(prefix)[0] if len(prefix) == _LENGTH.size else 0
    if not 0 < length <= min(_LARGEST_HEADER_BYTES, size - _LENGTH.size):
        raise ModelFileError(f"{path}: not a safetensors file, or a truncated one ({size} bytes, header of {length})")
    try:
        header: dict[str, Any] = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a safetensors file: its header is no JSON: {error}") from error
    metadata = header.get(_METADATA, {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelFileError(f"{path}: not a safetensors file: want a header of tensors and a table of strings")
    return header
