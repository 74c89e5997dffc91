"""What `--out http://…` asks for: where to listen, who may look, and where saved frames go."""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from edgex_runtime.address import shown
from edgex_runtime.errors import BadInputError
from edgex_runtime.sources.options import parse_options

DEFAULT_PORT = 8080
EXAMPLE = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleOptions:
    """Where the console listens, and to whom.

    Attributes:
        host: An address of this machine, or its name.
        port: 0 takes any that is free.
        cert: The certificate (PEM); None is plain HTTP.
        key: Its private key (PEM); None if it stands in the same file.
        token: What a viewer has to know; "" is nothing, which only loopback allows.
        hosts: Further names that the page may be asked for by.
        collect: The folder with one folder a class that frames are saved in; None saves none.
        format: Of saved frames: lossless, or JPEG of quality 95.
    """

    host: str
    port: int
    cert: Path | None = None
    key: Path | None = None
    token: str = ""
    hosts: tuple[str, ...] = ()
    collect: Path | None = None
    format: Literal["png", "jpg"] = "png"

    @property
    def is_loopback(self) -> bool:
        """Whether only this very machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def scheme(self) -> str:
        """Of its address."""
        return "http" if self.cert is None else "https"

    def url(self, port: int) -> str:
        """The address to open; where it listens on every address, by the machine's name."""
        anywhere = self.host in ("0.0.0.0", "::")
        host = socket.gethostname() if anywhere else f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{port}/"


def parse_console_uri(uri: str) -> ConsoleOptions:
    """Parse ``https://0.0.0.0:8443?cert=cert.pem&key=key.pem&token=…&collect=photos``.

    Raises:
        BadInputError: If it is no such address, an option is unknown, or a file or folder is not there.
    """
    where = shown(uri)
    parts, port = _split(uri, where)
    if not parts.hostname or parts.path not in ("", "/") or parts.username is not None or parts.fragment:
        raise BadInputError(f"{where}: want an address of this machine and a port, such as {EXAMPLE}")
    known: dict[str, Callable[[str], object]] = {
        "cert": _file,
        "key": _file,
        "token": str,
        "host": lambda text: tuple(text.lower().split(",")),
        "collect": _folder,
        "format": _format,
    }
    found = parse_options(parts.query, known, where=where)
    if "host" in found:
        found["hosts"] = found.pop("host")
    options = ConsoleOptions(host=parts.hostname, port=DEFAULT_PORT if port is None else port, **found)  # type: ignore[arg-type]
    # Not as the other options: their message repeats what was given.
    if "token" in found and not re.fullmatch(r"[A-Za-z0-9_.~-]{16,128}", options.token):
        raise BadInputError(
            f"{where}: token: want 16 to 128 letters, digits or any of - _ . ~; leave it out, and one is made up"
        )
    if parts.scheme == "https" and options.cert is None:
        raise BadInputError(f"{where}: https wants ?cert=cert.pem&key=key.pem; to make a certificate: {recipe()}")
    if parts.scheme == "http" and (options.cert or options.key):
        raise BadInputError(f"{where}: a certificate is for https: write https://{parts.netloc}")
    return options


def recipe() -> str:
    """The command that makes a certificate for this machine."""
    name = socket.gethostname()
    return (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -keyout key.pem -out cert.pem "
        f"-subj /CN={name} -addext subjectAltName=DNS:{name},DNS:{name}.local"
    )


def _split(uri: str, where: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(uri)
        return parts, parts.port
    except ValueError as error:
        raise BadInputError(f"{where}: want an address such as {EXAMPLE}: {error}") from error


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise ValueError("want a file that is there")
    return Path(text)


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise ValueError("want a folder that is there, to which a folder for each class is added")
    return Path(text)


def _format(text: str) -> str:
    if text not in ("png", "jpg"):
        raise ValueError("want png (lossless) or jpg (quality 95)")
    return text
