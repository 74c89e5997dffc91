"""What a bundle holds, to the byte: the one file that is signed. Everything else is held to the digests in it."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from edgex_runtime.errors import BundleError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
# Beyond these a manifest is no bundle of ours: they bound what a stranger's archive can make a board write.
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILES = 10_000
MAX_TOTAL_BYTES = 8 << 30
# Of one name in a ustar header, with its prefix.
_MAX_PATH = 200
# No part begins with a dot or a dash: no parent folder, no hidden file, nothing that a program takes for an option.
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!-]*(/[A-Za-z0-9_][A-Za-z0-9._+!-]*)*")
_APP = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledFile:
    """One file of a bundle: its name with slashes, bytes, and digest in hex."""

    path: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        check_path(self.path)
        if not (isinstance(self.size, int) and 0 <= self.size <= MAX_TOTAL_BYTES) or isinstance(self.size, bool):
            raise BundleError(f"bundle: {self.path}: want a size of 0 to {MAX_TOTAL_BYTES} bytes, got {self.size!r}")
        if not (isinstance(self.sha256, str) and _SHA256.fullmatch(self.sha256)):
            raise BundleError(f"bundle: {self.path}: want a sha256 in hex, got {self.sha256!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The list of a bundle's files.

    Attributes:
        app: What the board calls it: the folder and the unit are named after it.
        board: The profile that it was made for.
        edgex: Version that made it.
        files: By path, sorted.
        schema: Version of this schema.
    """

    app: str
    board: str
    edgex: str
    files: tuple[BundledFile, ...]
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema != SCHEMA_VERSION:
            raise BundleError(
                f"bundle: this edgex reads bundles of schema {SCHEMA_VERSION}, this one is of {self.schema!r}: "
                "install the edgex that made it, or make it again"
            )
        check_app(self.app)
        if len(self.files) > MAX_FILES or self.total_bytes > MAX_TOTAL_BYTES:
            raise BundleError(
                f"bundle: want at most {MAX_FILES} files and {MAX_TOTAL_BYTES} bytes, got {len(self.files)} and "
                f"{self.total_bytes}"
            )
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise BundleError("bundle: want each file once, in the order of their names")
        folders = {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}
        if clash := folders.intersection(paths) or {MANIFEST, SIGNATURE}.intersection(paths):
            raise BundleError(f"bundle: {sorted(clash)[0]!r} cannot be a file of it")

    @property
    def total_bytes(self) -> int:
        """Of all files together."""
        return sum(file.size for file in self.files)

    @property
    def release(self) -> str:
        """The name of the release that it becomes: the same files give the same name."""
        return hashlib.sha256(self.to_json()).hexdigest()[:16]

    def file(self, path: str) -> BundledFile:
        """The entry of that path.

        Raises:
            BundleError: If there is none.
        """
        found = [file for file in self.files if file.path == path]
        if not found:
            raise BundleError(f"bundle: {path} is missing in it: make it again")
        return found[0]

    def to_json(self) -> bytes:
        """Serialise; the same manifest always gives the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Parse what `to_json` wrote, and nothing else.

        Raises:
            BundleError: If it is anything else.
        """
        manifest = _parse(text)
        if manifest.to_json() != text:
            raise BundleError("bundle: its manifest is not written as edgex writes it: make the bundle again")
        return manifest


def check_path(path: object) -> None:
    """Hold a file's name to what a bundle may hold.

    Raises:
        BundleError: If it may not.
    """
    if not (isinstance(path, str) and _PATH.fullmatch(path) and len(path) <= _MAX_PATH):
        raise BundleError(
            f"bundle: want names of ASCII letters, digits and ._+!- in folders below it, got {path!r}: rename the file"
        )


def check_app(app: object) -> None:
    """Hold an app's name to what folders and units can be called.

    Raises:
        BundleError: If it cannot be used.
    """
    if not (isinstance(app, str) and _APP.fullmatch(app)):
        raise BundleError(f"app: want a name of 1 to 32 small letters, digits and dashes, got {app!r}")


def _parse(text: bytes) -> Manifest:
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleError(f"bundle: want a manifest of at most {MAX_MANIFEST_BYTES} bytes, got {len(text)}")
    try:
        data: dict[str, Any] = json.loads(text)
        files = tuple(BundledFile(**file) for file in data.pop("files"))
        return Manifest(**data, files=files)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"bundle: its manifest cannot be read: {error}") from error
