"""Takes the console's address, with TLS where it is asked for, and says what is wrong before a run begins."""

import errno
import socket
import ssl
from dataclasses import dataclass

from edgex_runtime.console.options import ConsoleOptions
from edgex_runtime.errors import BadInputError

BACKLOG = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A bound socket.

    Attributes:
        sock: Listening.
        tls: Speaks TLS on it; None is plain HTTP.
        port: The one it has, also where any was asked for.
    """

    sock: socket.socket
    tls: ssl.SSLContext | None
    port: int


def listen(options: ConsoleOptions) -> Listener:
    """Take the address.

    Raises:
        BadInputError: If it is taken or not this machine's, or the certificate cannot be used.
    """
    tls = _load_tls(options)
    host = "127.0.0.1" if options.host == "localhost" else options.host
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        both = host == "::" and socket.has_dualstack_ipv6()
        sock = socket.create_server((host, options.port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise BadInputError(f"{options.scheme}://{options.host}:{options.port}: {_explain(error, options)}") from error
    return Listener(sock=sock, tls=tls, port=sock.getsockname()[1])


def _explain(error: OSError, options: ConsoleOptions) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program listens there: take another port, such as {options.port + 1}, or 0 for any"
    if error.errno == errno.EACCES:
        return "this user may not listen there: take a port above 1023"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "that is no address of this machine: take 127.0.0.1, or 0.0.0.0 for all of its addresses"
    return f"cannot listen there: {error.strerror}"


def _load_tls(options: ConsoleOptions) -> ssl.SSLContext | None:
    if options.cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The password is asked for on the terminal otherwise, which a service does not have.
        context.load_cert_chain(options.cert, options.key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"{options.cert}: want a certificate and its private key (PEM, without a password): {error}"
        ) from error
    return context
