"""A bundle as one file: a tar that can be written in one way only, so that the reader knows every byte beforehand.

`tar xf` reads it. `unpack` does not interpret it: it makes each header anew from the signed manifest and compares. What
is not exactly that, a link, a device, another name, a longer file or one flipped bit, is refused where it stands.
"""

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edgex_devices.agent.manifest import MANIFEST, MAX_MANIFEST_BYTES, SIGNATURE, BundledFile, Manifest
from edgex_devices.agent.signature import MAX_SIGNATURE_BYTES, verify
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import BundleError

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_CHUNK = 1 << 20
_SIZE_FIELD = slice(124, 136)


def write_archive(path: Path, folder: Path) -> None:
    """Write a bundle's folder as one file; the same folder gives the same bytes.

    Raises:
        OSError: If a file cannot be read or written.
    """
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    with atomic_write(path) as archive:
        for name in (MANIFEST, SIGNATURE, *(file.path for file in manifest.files)):
            size = (folder / name).stat().st_size
            archive.write(header(name, size))
            with (folder / name).open("rb") as file:
                shutil.copyfileobj(file, archive, _CHUNK)
            archive.write(bytes(-size % _BLOCK))
        archive.write(_END)


def unpack(archive: Path, folder: Path, signers: Path) -> Manifest:
    """Unpack a bundle, verified, into a folder that does not exist yet.

    Args:
        archive: What `write_archive` wrote.
        folder: Made, and removed again when anything is wrong.
        signers: An ``allowed_signers`` file.

    Raises:
        BundleError: If the signature is missing or not trusted, or any byte is not what the manifest says.
        OSError: If the disk does not take it.
    """
    with archive.open("rb") as stream:
        text = _read_small(stream, MANIFEST, MAX_MANIFEST_BYTES)
        signature = _read_small(stream, SIGNATURE, MAX_SIGNATURE_BYTES)
        verify(text, signature, signers.read_bytes())
        manifest = Manifest.from_json(text)
        folder.mkdir(parents=True)
        try:
            _unpack_files(stream, folder, manifest)
            (folder / MANIFEST).write_bytes(text)
            (folder / SIGNATURE).write_bytes(signature)
        except BaseException:
            shutil.rmtree(folder)
            raise
    return manifest


def check_folder(folder: Path, signers: Path) -> Manifest:
    """Hold an unpacked bundle to its manifest; as `unpack`, in place.

    Raises:
        BundleError: If the signature is missing or not trusted, or a file is missing, changed or not in the manifest.
    """
    try:
        text, signature = (folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder}: want a bundle with {MANIFEST} and {SIGNATURE}: {error}") from error
    verify(text, signature, signers.read_bytes())
    manifest = Manifest.from_json(text)
    wanted = {MANIFEST, SIGNATURE, *(file.path for file in manifest.files)}
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    if wanted != found:
        odd = sorted(wanted ^ found)[0]
        raise BundleError(f"{folder}: {odd} is {'missing' if odd in wanted else 'not in the manifest'}: copy it again")
    for file in manifest.files:
        if (folder / file.path).is_symlink() or digest(folder / file.path) != (file.size, file.sha256):
            raise _changed(file)
    return manifest


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a file: everything that could differ between two machines is fixed.

    Raises:
        BundleError: If the name is too long for a tar.
    """
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    try:
        return member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError as error:
        raise BundleError(f"bundle: {name}: {error}: give it a shorter name") from error


def digest(path: Path) -> tuple[int, str]:
    """A file's size and sha256."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            size += len(chunk)
    return size, sha256.hexdigest()


def _read_small(stream: BinaryIO, name: str, limit: int) -> bytes:
    found = stream.read(_BLOCK)
    digits = found[_SIZE_FIELD].rstrip(b"\0 ")
    size = int(digits, 8) if digits and all(digit in b"01234567" for digit in digits) else -1
    if not 0 <= size <= limit or found != header(name, size):
        raise BundleError(f"bundle: want {name} of at most {limit} bytes here, found something else: it is no bundle")
    data = stream.read(size)
    if len(data) != size:
        raise BundleError(f"bundle: it ends within {name}: copy it again")
    _expect(stream, bytes(-size % _BLOCK), name)
    return data


def _unpack_files(stream: BinaryIO, folder: Path, manifest: Manifest) -> None:
    for file in manifest.files:
        _expect(stream, header(file.path, file.size), file.path)
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x": the folder is ours and new, so a name that is there already was planted.
        with target.open("xb") as output:
            copy_checked(stream.read, output, file)
        _expect(stream, bytes(-file.size % _BLOCK), file.path)
    _expect(stream, _END, "the end")
    if stream.read(1):
        raise BundleError("bundle: there is something behind its end: copy it again")


def copy_checked(read: Callable[[int], bytes], output: BinaryIO, file: BundledFile) -> None:
    """Copy one file's bytes, and hold them to the manifest.

    Raises:
        BundleError: If they end early or are others.
    """
    sha256, left = hashlib.sha256(), file.size
    while left:
        chunk = read(min(left, _CHUNK))
        if not chunk:
            raise BundleError(f"bundle: it ends within {file.path}: copy it again")
        sha256.update(chunk)
        output.write(chunk)
        left -= len(chunk)
    output.flush()
    os.fsync(output.fileno())
    if sha256.hexdigest() != file.sha256:
        raise _changed(file)


def _expect(stream: BinaryIO, wanted: bytes, where: str) -> None:
    if stream.read(len(wanted)) != wanted:
        raise BundleError(f"bundle: at {where} it is not what its manifest says: copy it again")


def _changed(file: BundledFile) -> BundleError:
    return BundleError(f"bundle: {file.path} is not the file of the manifest (sha256): copy it again")
