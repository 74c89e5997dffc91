"""edgex's own wheel, from the edgex that runs: no build tool, no network, and the same bytes from the same source."""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from edgex_runtime.errors import MissingExtraError

_PACKAGES = ("edgex", "edgex_runtime", "edgex_converters", "edgex_devices")
_WHEEL = "Wheel-Version: 1.0\nGenerator: edgex\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
# The oldest date that a zip can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


def write_own_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`.

    Raises:
        MissingExtraError: If edgex is not installed, and so has no version and no requirements.
    """
    try:
        metadata = distribution("edgex")
    except PackageNotFoundError as error:
        raise MissingExtraError("edgex is not installed, only importable: pip install -e . in its folder") from error
    info = f"edgex-{metadata.version}.dist-info"
    files = dict(_package_files())
    for name in ("METADATA", "entry_points.txt"):
        files[f"{info}/{name}"] = (metadata.read_text(name) or "").encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD").encode()
    path = folder / f"edgex-{metadata.version}-py3-none-any.whl"
    # Stored: deflate's bytes depend on the zlib, and 2 MB are not worth that.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as wheel:
        for name, data in files.items():
            member = zipfile.ZipInfo(name, _DATE)
            member.create_system, member.external_attr = 3, 0o644 << 16
            wheel.writestr(member, data)
    return path


def _package_files() -> Iterator[tuple[str, bytes]]:
    for package in _PACKAGES:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtraError(f"{package} is not here: install edgex again")
        folder = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                yield f"{package}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _record(files: dict[str, bytes], own: str) -> str:
    """PEP 427's list of a wheel's files."""
    rows = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    return "\n".join([*rows, f"{own},,", ""])


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
