"""TFLite: a zip archive after the flatbuffer holds `edgex.json` and, for MediaPipe and others, `labels.txt`.

This is where TFLite Metadata keeps its associated files (https://www.tensorflow.org/lite/models/convert/metadata); the
description of them inside the flatbuffer is written when the file is made. An archive is found from its end, so an
interpreter, which reads from the start, never sees it.
"""

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import ModelFileError
from edgex_runtime.metadata.carrier import LARGEST_CONTRACT_BYTES, SEAL_KEY, Carried, copy_bytes
from edgex_runtime.spec import ModelSpec

CONTRACT_MEMBER = "edgex.json"
LABELS_MEMBER = "labels.txt"
SEAL_MEMBER = f"{SEAL_KEY}.txt"
_IDENTIFIER = b"TFL3"
# What zipfile raises for bytes that are no archive, beside BadZipFile: RuntimeError for an encrypted or unknown method.
_BROKEN_ZIP = (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError, struct.error, zlib.error)


def files(path: Path) -> tuple[Path, ...]:
    """The one file."""
    return (path,)


def spell(label: str) -> str:
    """As it is: one line a label."""
    return label


def read(path: Path) -> Carried:
    """Read our members of the archive."""
    with path.open("rb") as file:
        size, members = _split(file, path, only=(CONTRACT_MEMBER, LABELS_MEMBER, SEAL_MEMBER))
    texts = {name: _text(data, name, path) for name, data in members.items()}
    labels = texts.get(LABELS_MEMBER)
    return Carried(
        contract=texts.get(CONTRACT_MEMBER),
        labels=None if labels is None else tuple(labels.rstrip("\n").split("\n")),
        seal=texts.get(SEAL_MEMBER),
        content=((0, size),),
    )


def write(path: Path, spec: ModelSpec, seal: str) -> None:
    """Write the same flatbuffer and the other members again, with ours in place of earlier ones."""
    with path.open("rb") as source:
        flatbuffer_bytes, members = _split(source, path, only=None)
        members[LABELS_MEMBER] = ("\n".join(spec.labels) + "\n").encode()
        members[CONTRACT_MEMBER] = spec.to_json().encode()
        members[SEAL_MEMBER] = seal.encode()
        source.seek(0)
        with atomic_write(path) as target:
            copy_bytes(source, target, flatbuffer_bytes)
            with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
                for name, data in members.items():
                    # Stored: MediaPipe reads no other. The default date, 1980, makes the same input the same file.
                    archive.writestr(zipfile.ZipInfo(name), data)


def _split(file: BinaryIO, path: Path, *, only: tuple[str, ...] | None) -> tuple[int, dict[str, bytes]]:
    """The flatbuffer's length and the archive's members: all, or those named."""
    if file.read(8)[4:] != _IDENTIFIER:
        raise ModelFileError(f"{path}: not a TFLite file: want {_IDENTIFIER.decode()!r} at byte 4")
    if not zipfile.is_zipfile(file):
        return file.seek(0, os.SEEK_END), {}
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            start = min((info.header_offset for info in infos), default=archive.start_dir)
            if start < 8:
                raise ModelFileError(f"{path}: the archive of metadata starts inside the flatbuffer, at byte {start}")
            wanted = [info for info in infos if only is None or info.filename in only]
            return start, {info.filename: _member(archive, info, path) for info in wanted}
    except _BROKEN_ZIP as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: the archive of metadata at its end is broken: {error!s:.200}") from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    with archive.open(info) as member:
        # The declared size may lie; what is read, and so what is inflated, is bounded here.
        data = member.read(LARGEST_CONTRACT_BYTES + 1)
    if len(data) > LARGEST_CONTRACT_BYTES:
        raise ModelFileError(f"{path}: {info.filename} has more than {LARGEST_CONTRACT_BYTES} bytes")
    return data


def _text(data: bytes, name: str, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{path}: {name} is not UTF-8: {error}") from error
