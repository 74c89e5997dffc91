"""All wheels that a board needs, resolved on the host for the board's platform and Python, and their lock."""

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from edgex_runtime.errors import BadInputError, BundleError

_PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--only-binary=:all:")
# Rounds of asking for what markers of the target's Python want beyond the host's: each adds a level of dependencies.
_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What wheels must fit.

    Attributes:
        python: ``3.11``.
        arch: ``aarch64``.
        platforms: What pip takes there, best first.
    """

    python: str
    arch: str
    platforms: tuple[str, ...]

    @property
    def pip_options(self) -> tuple[str, ...]:
        """For `pip download`."""
        tag = f"cp{self.python.replace('.', '')}"
        platforms = (option for platform in self.platforms for option in ("--platform", platform))
        abis = ("--abi", tag, "--abi", "abi3", "--abi", "none")
        return ("--python-version", self.python, "--implementation", "cp", *abis, *platforms)

    def marker_environment(self) -> dict[str, str]:
        """What environment markers see there (PEP 508)."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "platform_python_implementation": "CPython",
            "platform_machine": self.arch,
            "platform_system": "Linux",
            "sys_platform": "linux",
            "os_name": "posix",
        }


def resolve(folder: Path, own_wheel: Path, extras: Sequence[str], target: Target, *, index: Path | None = None) -> None:
    """Fill a folder with edgex's wheel and all that it needs there.

    Args:
        folder: Filled.
        own_wheel: Of edgex.
        extras: Of edgex: its engine's, its camera's, its sinks'.
        target: What the wheels must fit.
        index: A folder of wheels that are taken instead of the registry's.

    Raises:
        BundleError: If a wheel does not exist for the target; it says which.
    """
    _download(folder, [f"{own_wheel}[{','.join(extras)}]" if extras else str(own_wheel)], target, index)
    # pip judges markers by the Python that it runs on itself, which is the host's.
    for _ in range(_ROUNDS):
        missing = _missing(folder, extras, target)
        if not missing:
            return
        _download(folder, missing, target, index)
    raise BundleError(
        f"wheelhouse: {', '.join(missing)} are still wanted after {_ROUNDS} rounds: add them by --wheelhouse"
    )


def resolve_lock(folder: Path, own_wheel: Path, lock: Path, target: Target, *, index: Path | None = None) -> None:
    """Fill a folder with exactly the wheels of an earlier bundle's lock, and edgex's own.

    Raises:
        BundleError: If one of them cannot be had with its digest.
    """
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith("edgex==")]
    pinned = folder.with_name(f"{folder.name}.lock")
    pinned.write_text("\n".join([*lines, ""]), encoding="utf-8")
    _download(folder, ["--no-deps", "--require-hashes", "--requirement", str(pinned)], target, index)
    pinned.unlink()
    (folder / own_wheel.name).write_bytes(own_wheel.read_bytes())


def fetch_installer(folder: Path, target: Target, *, index: Path | None = None) -> None:
    """Put pip's own wheel into a folder: the board's Python need not have pip.

    Raises:
        BundleError: If it cannot be had.
    """
    _download(folder, ["--no-deps", "pip"], target, index)


def lock_text(folder: Path) -> str:
    """A folder's wheels as requirements that pip installs without a choice, each with its digest."""
    lines = []
    for wheel in folder.glob("*.whl"):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    return "\n".join([*sorted(lines), ""])


def _download(folder: Path, wanted: list[str], target: Target, index: Path | None) -> None:
    where = ["--no-index", "--find-links", str(index)] if index else []
    # What was downloaded in an earlier round satisfies the next one.
    options = ["--dest", str(folder), "--find-links", str(folder), *where, *target.pip_options]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run([sys.executable, *_PIP, *options, *wanted], capture_output=True, text=True, check=False)
    except OSError as error:
        raise BadInputError(f"pip cannot be run: {error}") from error
    if done.returncode:
        why = "\n".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))
        raise BundleError(
            f"wheelhouse: no wheels for Python {target.python} on {target.arch}: {why or done.stderr.strip()}"
        )


def _missing(folder: Path, own_extras: Sequence[str], target: Target) -> list[str]:
    wheels = {canonicalize_name(parse_wheel_filename(path.name)[0]): path for path in folder.glob("*.whl")}
    wanted: dict[str, None] = {}
    for name, path in wheels.items():
        extras = ("", *own_extras) if name == "edgex" else ("",)
        for requirement in _requirements(path):
            if _holds(requirement.marker, extras, target) and canonicalize_name(requirement.name) not in wheels:
                wanted[f"{requirement.name}{requirement.specifier}"] = None
    return list(wanted)


def _requirements(wheel: Path) -> Iterator[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(name), headersonly=True)
    yield from map(Requirement, metadata.get_all("Requires-Dist", []))


def _holds(marker: Marker | None, extras: tuple[str, ...], target: Target) -> bool:
    environment = target.marker_environment()
    return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in extras)
