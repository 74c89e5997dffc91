"""What a user types for a sink on the network: `scheme://user:password@host:port/path?option=value`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from edgex_runtime.address import shown
from edgex_runtime.errors import BadInputError
from edgex_runtime.sources.options import parse_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A sink's URI in its parts.

    Attributes:
        scheme: In small letters.
        host: A name or an address, an IPv6 one without its brackets.
        port: The one typed, or the scheme's own.
        path: What follows the host, with its slash; percent-decoded.
        options: The parsed options.
        username: Percent-decoded.
        password: Percent-decoded; in no representation.
        shown: The URI as it may be logged.
    """

    scheme: str
    host: str
    port: int
    path: str
    options: Mapping[str, object]
    shown: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_address(uri: str, *, port: int, known: Mapping[str, Callable[[str], object]]) -> Address:
    """Take a URI apart.

    Args:
        uri: What the user typed.
        port: The scheme's own.
        known: Option to the function that parses it, as `parse_options` takes them.

    Raises:
        BadInputError: If it has no host, no such port, or an option that is not known.
    """
    # What stands behind a # has no meaning here, and may be a secret.
    where = shown(uri).partition("#")[0]
    try:
        parts = urlsplit(uri)
        typed = parts.port
    except ValueError:
        # Its words may hold a part of the password.
        raise BadInputError(
            f"{where}: want HOST:PORT with a port of 1 to 65535; in a password write / ? # as %2F %3F %23"
        ) from None
    if not parts.hostname:
        raise BadInputError(f"{where}: want {parts.scheme}://HOST, found no host")
    if parts.fragment:
        raise BadInputError(f"{where}: a # ends what a URI can say here: write it as %23")
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port if typed is None else typed,
        path=unquote(parts.path),
        options=parse_options(parts.query, known, where=where),
        shown=where,
        username=_decoded(parts, "username"),
        password=_decoded(parts, "password"),
    )


def read_secret(path: object) -> str | None:
    """Read the file that an option names, if it is given: a command line is seen by everyone on the machine.

    Raises:
        BadInputError: If it cannot be read, or is empty.
    """
    if not isinstance(path, Path):
        return None
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: want a file that holds a secret; it cannot be read: {error}") from error
    if not secret.isprintable() or not secret:
        raise BadInputError(f"{path}: want one line that holds a secret")
    return secret


def _decoded(parts: SplitResult, part: str) -> str | None:
    text: str | None = getattr(parts, part)
    return None if text is None else unquote(text)
