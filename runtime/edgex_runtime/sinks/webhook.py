"""Webhook: POSTs what changed to a URL, as the JSON lines' objects, one a request.

`webhook+https://[user:password@]host/path?its=own#on=changes&every=1s`: our options stand behind the #, which no server
gets to see, for the query belongs to the server.
"""

import base64
import hashlib
import hmac
import http.client
import logging
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from edgex_runtime.errors import BadInputError
from edgex_runtime.sinks.address import Address, parse_address, read_secret
from edgex_runtime.sinks.jsonl import to_line
from edgex_runtime.sinks.pacing import BACKOFF_MAX_S, Novelty, Pace, backoff_s
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.options import parse_seconds
from edgex_runtime.sources.source import Frame

logger = logging.getLogger(__name__)

PORTS = {"webhook+http": 80, "webhook+https": 443}
EVERY_S = 1.0
TIMEOUT_S = 5.0
GIVE_UP_S = 60.0
"""So long one request is tried again; what comes meanwhile waits in the sink's queue."""
FAREWELL_S = 1.0
"""So long it is tried again when the run ends, every `LAST_PAUSE_S`."""
LAST_PAUSE_S = 0.2
# By these a server says that the same request may do better later (RFC 9110, RFC 6585, RFC 8470).
TRY_AGAIN = frozenset({408, 425, 429})


class On(str, Enum):
    """What is worth a request."""

    EVENTS = "events"
    """Events and changes of the source's state."""
    CHANGES = "changes"
    """Changes of the label, too."""
    RESULTS = "results"
    """Every result."""


def _parse_on(text: str) -> On:
    try:
        return On(text)
    except ValueError:
        raise ValueError(f"want {', '.join(on.value for on in On)}") from None


OPTIONS: dict[str, Callable[[str], object]] = {
    "on": _parse_on,
    "every": parse_seconds,
    "timeout": parse_seconds,
    "secret-file": Path,
    "bearer-file": Path,
    "ca": Path,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go.

    Attributes:
        shown: The URI as it may be logged; without its path, which is the secret of some services.
        host: Name or address.
        port: Of the server.
        path: With its query.
        headers: Those that every request has.
        secret: Signs the body; None signs nothing.
        timeout_s: For connecting, and for each answer.
        tls: None speaks plain HTTP.
    """

    shown: str
    host: str
    port: int
    path: str
    headers: Mapping[str, str] = field(repr=False)
    secret: bytes | None = field(repr=False)
    timeout_s: float
    tls: ssl.SSLContext | None


class WebhookSink:
    """Sends each result that is due, and tries again while the server is away; it is meant to run behind a queue."""

    def __init__(self, target: Target, *, on: On, every_s: float) -> None:
        """Store; nothing is sent before the first result.

        Args:
            target: Where to send.
            on: What is worth a request.
            every_s: A new label, or a result, is sent at most so often.
        """
        self._target = target
        every_ns = round(every_s * 1e9)
        self._pace = Pace(
            every_ns=None if on is On.EVENTS else every_ns, refresh_ns=every_ns if on is On.RESULTS else None
        )
        self._sources: dict[str, Novelty] = {}
        self._hurry = threading.Event()
        self._late_s = 0.0
        self._failures = 0
        self._said = False
        self._dropped = 0
        self._delivered = 0

    @property
    def delivered(self) -> int:
        """Results that the server took."""
        return self._delivered

    @property
    def dropped(self) -> int:
        """Results that were due and did not arrive."""
        return self._dropped

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Send `result` if it is due; returns when it has arrived or is given up."""
        if self._sources.setdefault(result.source, Novelty(self._pace)).is_due(result):
            self._deliver(to_line(result).encode())

    def hurry(self) -> None:
        """Try no more for long: the run is ending. By any thread."""
        self._late_s = time.monotonic() + FAREWELL_S
        self._hurry.set()

    def close(self) -> None:
        """Nothing is left open."""

    def _deliver(self, body: bytes) -> None:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "edgex",
            # The same in each try, for a receiver that would count one twice.
            "X-Edgex-Delivery": secrets.token_hex(16),
            **self._target.headers,
        }
        if self._target.secret is not None:
            headers["X-Edgex-Signature"] = f"sha256={hmac.digest(self._target.secret, body, hashlib.sha256).hex()}"
        end_s = time.monotonic() + GIVE_UP_S
        while True:
            failure = self._post(body, headers)
            if failure is None:
                return
            self._say(failure.why)
            pause_s = max(backoff_s(self._failures), failure.after_s)
            self._failures += 1
            if not failure.may_pass or time.monotonic() + pause_s > end_s or self._is_over(pause_s):
                self._dropped += 1
                return

    def _is_over(self, pause_s: float) -> bool:
        """Wait before the next try; True when there is no time for one."""
        if not self._hurry.wait(pause_s):
            return False
        time.sleep(LAST_PAUSE_S)
        return time.monotonic() > self._late_s

    def _post(self, body: bytes, headers: Mapping[str, str]) -> "_Failure | None":
        target = self._target
        connection = (
            http.client.HTTPConnection(target.host, target.port, timeout=target.timeout_s)
            if target.tls is None
            else http.client.HTTPSConnection(target.host, target.port, timeout=target.timeout_s, context=target.tls)
        )
        try:
            connection.request("POST", target.path, body=body, headers=dict(headers))
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            return _Failure(str(error) or type(error).__name__, may_pass=True)
        finally:
            connection.close()
        if 200 <= answer.status < 300:
            self._succeed()
            return None
        # Redirects are not followed: what is signed and authorised for one place is for no other.
        may_pass = answer.status >= 500 or answer.status in TRY_AGAIN
        why = f"it answers {answer.status} {answer.reason}"
        return _Failure(why, may_pass=may_pass, after_s=_retry_after_s(answer.headers.get("Retry-After", "")))

    def _succeed(self) -> None:
        if self._said:
            logger.warning("%s: takes results again", self._target.shown)
        self._said, self._failures = False, 0
        self._delivered += 1

    def _say(self, why: str) -> None:
        """Once for each time that it goes away."""
        if not self._said:
            self._said = True
            logger.warning("%s: takes no result: %s; the run goes on", self._target.shown, why)


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str
    may_pass: bool
    after_s: float = 0.0


def _retry_after_s(text: str) -> float:
    """Seconds; a date counts as no wish.

    >>> _retry_after_s("7"), _retry_after_s("Wed, 21 Oct 2026 07:28:00 GMT"), _retry_after_s("99999")
    (7.0, 0.0, 30.0)
    """
    return min(float(text), BACKOFF_MAX_S) if text.isascii() and text.isdigit() else 0.0


def open_webhook(uri: str, surroundings: Surroundings) -> WebhookSink:
    """Prepare a webhook; that its server does not answer is no error, it may come later.

    Raises:
        BadInputError: If the URI is not one, or its files cannot be read.
    """
    url, _, fragment = uri.partition("#")
    base, _, query = url.partition("?")
    address = parse_address(f"{base}?{fragment}", port=PORTS[uri.partition(":")[0]], known=OPTIONS)
    path = urlsplit(base).path or "/"
    if not (path + query).isascii() or not (path + query).isprintable() or " " in path + query:
        raise BadInputError(
            f"{address.shown}: want a URL of ASCII letters without blanks: write others as %20 and so on"
        )
    options = address.options
    secret = read_secret(options.get("secret-file"))
    target = Target(
        shown=address.shown,
        host=address.host,
        port=address.port,
        path=f"{path}?{query}" if query else path,
        headers=_authorisation(address),
        secret=None if secret is None else secret.encode(),
        timeout_s=float(str(options.get("timeout", TIMEOUT_S))),
        tls=_tls(address) if address.scheme == "webhook+https" else None,
    )
    on = options.get("on", On.CHANGES)
    assert isinstance(on, On)
    default_s = 0.0 if on is On.RESULTS else EVERY_S
    return WebhookSink(target, on=on, every_s=float(str(options.get("every", default_s))))


def _authorisation(address: Address) -> dict[str, str]:
    bearer = read_secret(address.options.get("bearer-file"))
    if bearer is not None:
        return {"Authorization": f"Bearer {bearer}"}
    if address.username is None:
        return {}
    pair = f"{address.username}:{address.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _tls(address: Address) -> ssl.SSLContext:
    ca = address.options.get("ca")
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise BadInputError(f"{ca}: want certificates in PEM form: {error}") from error
