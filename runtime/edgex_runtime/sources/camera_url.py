"""A network camera's address, taken apart: the address itself, who asks, and our own options after the ``#``.

The options stand in the fragment, which no client sends: the camera's own ``?query`` stays as it is.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote, urlsplit, urlunsplit

from edgex_runtime.address import shown
from edgex_runtime.errors import BadInputError
from edgex_runtime.sources.options import parse_options, parse_seconds

TIMEOUT_S = 5.0
MIN_TIMEOUT_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraUrl:
    """Where a camera is.

    Attributes:
        name: What may be shown of it.
        address: Without user, password and options.
        credentials: User and password, percent-decoded; None where there are none.
        options: Ours, parsed.
    """

    name: str
    address: str
    credentials: tuple[str, str] | None
    options: dict[str, object]


def parse_camera_url(uri: str, known: Mapping[str, Callable[[str], object]]) -> CameraUrl:
    """Take ``scheme://user:password@host:port/path?query#timeout=5s`` apart.

    Args:
        uri: What the user typed.
        known: Our options, as `parse_options` takes them.

    Raises:
        BadInputError: If it is no address, or an option is unknown.
    """
    name = shown(uri.partition("#")[0])
    if any(character.isspace() or not character.isprintable() for character in uri):
        raise BadInputError(f"{name}: holds a space or a control character: write it percent-encoded, a space as %20")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
        user, password = parts.username, parts.password
    except ValueError:
        host = port = user = password = None
    # What follows an unescaped / ? # of a password looks like a path; the rest of the password, like a host or a port.
    if not host or "@" in parts.path + parts.fragment:
        raise BadInputError(
            f"{name}: want scheme://user:password@host:port/path; write / ? # @ : in a password as %2F %3F %23 %40 %3A"
        )
    place = f"[{host}]" if ":" in host else host
    netloc = place if port is None else f"{place}:{port}"
    return CameraUrl(
        name=name,
        address=urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, "")),
        credentials=None if user is None else (unquote(user), unquote(password or "")),
        options=parse_options(parts.fragment, known, where=uri),
    )


def parse_timeout(text: str) -> float:
    """``5s`` → 5.0; a wait without end is no option."""
    value = parse_seconds(text)
    if value < MIN_TIMEOUT_S:
        raise ValueError("want 100ms or more")
    return value


@cache
def tls_context(ca: str | None, verify: str) -> ssl.SSLContext:
    """How an encrypted camera is held to its certificate.

    Read once in a process: all the authorities that a machine trusts take half a megabyte, and a camera may be opened
    again for ever.

    Args:
        ca: File with the certificate to trust; None trusts what this machine does.
        verify: ``no`` takes any.

    Raises:
        BadInputError: If the file holds none.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise BadInputError(f"ca={ca}: want a file with a certificate in PEM, found none: {error}") from error
    if verify == "no":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
