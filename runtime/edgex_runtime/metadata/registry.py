"""From a model file's suffix to the module that reads and writes its contract."""

import hashlib
import os
import unicodedata
from importlib import import_module
from pathlib import Path
from typing import cast

from edgex_runtime.errors import ContractMismatchError, ModelFileError, SpecError
from edgex_runtime.metadata.carrier import Carried, Carrier
from edgex_runtime.spec import ModelSpec

# Suffix → module, imported when a file of that format is read: a board has one format, and XML alone is half a MB.
CARRIERS = {
    ".onnx": "edgex_runtime.metadata.onnx",
    ".xml": "edgex_runtime.metadata.openvino",
    ".tflite": "edgex_runtime.metadata.tflite",
    ".safetensors": "edgex_runtime.metadata.safetensors",
}


def carrier_for(path: Path) -> Carrier:
    """The format of the file at `path`.

    Raises:
        ModelFileError: If there is no such file, or its suffix is none that edgex knows.
    """
    if path.suffix.lower() not in CARRIERS:
        raise ModelFileError(f"{path}: want a model file ({', '.join(CARRIERS)}), got {path.suffix or 'no suffix'!r}")
    if not path.is_file():
        raise ModelFileError(f"{path}: there is no such file")
    return cast(Carrier, import_module(CARRIERS[path.suffix.lower()]))


def read_spec(path: Path) -> ModelSpec | None:
    """Read a model file's contract; None for a file that carries none.

    Raises:
        ModelFileError: If the file cannot be read as its format.
        SpecError: If the contract is malformed.
        ContractMismatchError: If the labels that other programs read in the file are not the contract's.
    """
    carrier = carrier_for(path)
    carried = carrier.read(path)
    if carried.contract is None:
        return None
    spec = ModelSpec.from_json(carried.contract, where=f"{path}: contract")
    if carried.labels is not None and carried.labels != tuple(map(carrier.spell, spec.labels)):
        raise ContractMismatchError(
            f"{path}: the file's own label list ({_few(carried.labels)}) is not the contract's ({_few(spec.labels)}): "
            "somebody has edited one of the two; convert the model again",
            field="labels",
        )
    return spec


def read_native_labels(path: Path) -> tuple[str, ...] | None:
    """The labels in the field that the format's own ecosystem reads; None without it.

    Raises:
        ModelFileError: If the file cannot be read as its format.
    """
    return carrier_for(path).read(path).labels


def write_spec(path: Path, spec: ModelSpec) -> None:
    """Write the contract into a model file, atomically, in place of an earlier one; weights and graph stay as they are.

    Raises:
        ModelFileError: If the file cannot be read as its format.
        SpecError: If a label cannot be written in every format.
    """
    for label in spec.labels:
        if not label.strip() or any(_is_unwritable(character) for character in label):
            raise SpecError(f"labels: want visible text without line breaks, got {label!r}: rename that class")
    carrier = carrier_for(path)
    carrier.write(path, spec, _content_sha256(path, carrier.read(path)))


def check_seal(path: Path) -> bool:
    """Hold graph and weights to the digest that was written beside the contract.

    Returns:
        Whether the file carries such a digest.

    Raises:
        ModelFileError: If the file cannot be read as its format.
        ContractMismatchError: If it holds other bytes.
    """
    carried = carrier_for(path).read(path)
    if carried.seal is None:
        return False
    if carried.seal != _content_sha256(path, carried):
        raise ContractMismatchError(
            f"{path}: its graph or weights are not the bytes that its contract was written for (sha256): the file is "
            "damaged, or was changed by another program: copy it again, or convert the network again",
            field="bytes",
        )
    return True


def artifact_files(path: Path) -> tuple[Path, ...]:
    """Every file of a model, `path` first: an OpenVINO IR has two.

    Raises:
        ModelFileError: If one of them is not there.
    """
    return carrier_for(path).files(path)


def artifact_sha256(path: Path) -> str:
    """Digest of a model: its file's sha256; of several files, the sha256 of their hex digests, one a line.

    Raises:
        ModelFileError: If one of the files is not there.
    """
    digests = [_file_sha256(file) for file in artifact_files(path)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _content_sha256(path: Path, carried: Carried) -> str:
    """Digest of everything but what we write: the same before and after the contract is written."""
    ranges = _sha256(path, carried.content)
    return hashlib.sha256("\n".join([ranges, *map(_file_sha256, artifact_files(path)[1:])]).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    return _sha256(path, ((0, path.stat().st_size),))


def _sha256(path: Path, ranges: tuple[tuple[int, int], ...]) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        for start, end in ranges:
            file.seek(start, os.SEEK_SET)
            while size := file.readinto(buffer[: max(0, end - file.tell())]):
                digest.update(buffer[:size])
    return digest.hexdigest()


def _is_unwritable(character: str) -> bool:
    # Control characters and lone surrogates stand neither in XML nor in a file of one label a line.
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in "\ufffe\uffff"


def _few(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:5]) + (f", … {len(labels)} in all" if len(labels) > 5 else "")
