"""Reading tensors from somebody's file: safetensors, or Keras's HDF5. Nothing here ever unpickles.

Names and layouts stay as they are in the file; `weights` knows what they mean.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from edgex_runtime.errors import WeightsError
from edgex_runtime.metadata.registry import read_spec

_SAFETENSORS_NINTH = b"{"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_KERAS_MEMBER = "model.weights.h5"
# Many times Xception's 92 MB; a zip or HDF5 file that claims more is not one.
LARGEST_BYTES = 4 << 30


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor in a file, by its name there.

    Raises:
        WeightsError: If there is no such file, or it is none of the formats, or broken.
        MissingExtraError: If a Keras file is read without h5py.
    """
    start = _first_bytes(path)
    # First, because a safetensors file starts with a length, whose bytes may look like any other format's.
    if start.endswith(_SAFETENSORS_NINTH):
        return _read_safetensors(path)
    if start.startswith(_HDF5):
        return _read_hdf5(path, where=str(path))
    if start.startswith(_ZIP):
        return _read_keras_archive(path)
    if start.startswith(_PICKLE):
        raise _pickle_error(path)
    return _read_safetensors(path)


def read_header(path: Path) -> Mapping[str, str]:
    """The metadata of a safetensors file's header; empty without any.

    Raises:
        WeightsError: If it is not a safetensors file.
    """
    _first_bytes(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise _unreadable(path, error) from error


def labels_in(path: Path) -> tuple[str, ...] | None:
    """The class names that a safetensors file tells: our contract's, or a JSON list under ``labels``; None without.

    Raises:
        WeightsError: If it is not a safetensors file, or its label list is none.
        SpecError: If it carries a contract that cannot be read.
    """
    header = read_header(path)
    if path.suffix.lower() == ".safetensors" and (spec := read_spec(path)):
        return spec.labels
    if "labels" not in header:
        return None
    try:
        labels = json.loads(header["labels"])
    except ValueError:
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise WeightsError(f"{path}: labels in the header: want a JSON list of strings, got {header['labels']:.80}")
    return tuple(labels)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(9)
    except OSError as error:
        raise WeightsError(f"{path}: want a weights file, cannot open it: {error.strerror}") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a handle, not a dict)
    except SafetensorError as error:
        raise _unreadable(path, error) from error


def _read_keras_archive(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("data.pkl") for name in names):
                raise _pickle_error(path)
            if _KERAS_MEMBER not in names:
                raise _unreadable(path, f"a zip without {_KERAS_MEMBER}")
            if archive.getinfo(_KERAS_MEMBER).file_size > LARGEST_BYTES:
                raise _unreadable(path, f"its {_KERAS_MEMBER} is larger than {LARGEST_BYTES} bytes")
            content = io.BytesIO(archive.read(_KERAS_MEMBER))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise _unreadable(path, error) from error
    return _read_hdf5(content, where=f"{path}: {_KERAS_MEMBER}")


def _read_hdf5(source: Path | io.BytesIO, *, where: str) -> dict[str, Tensor]:
    # On demand: a machine that only runs checkpoints has no h5py.
    from edgex.networks.keras_file import read_hdf5

    return read_hdf5(source, where=where, largest_bytes=LARGEST_BYTES)


def _unreadable(path: Path, reason: object) -> WeightsError:
    return WeightsError(
        f"{path}: want a .safetensors, Keras .h5, .weights.h5 or .keras file; cannot be read as one: {reason}; "
        "is the file complete?"
    )


def _pickle_error(path: Path) -> WeightsError:
    return WeightsError(
        f"{path}: this is a pickle, which can run code when it is read, so edgex never does: "
        "load it where you trust it and write it with safetensors.torch.save_file"
    )
