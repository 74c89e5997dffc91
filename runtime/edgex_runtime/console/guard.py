"""Who may see the console: the Host and Origin of each request, the token, and how much one connection may send.

There is no request that changes anything: pages are GET, all else goes through a WebSocket, which a browser opens for
any site that asks (no same-origin rule holds for it). Hence its Origin has to be the page's own.
"""

import hmac
import http.cookies
import ipaddress
import secrets
import socket
import time
from urllib.parse import urlsplit

from edgex_runtime.console.options import ConsoleOptions

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
COOKIE_S = 30 * 24 * 3600


class Guard:
    """Decides on requests; holds the run's token.

    Args:
        options: A token is made up where none is given and others than this machine can come.
        port: Where it listens, really.
    """

    def __init__(self, options: ConsoleOptions, port: int) -> None:
        self.token = options.token or ("" if options.is_loopback else secrets.token_urlsafe(24))
        self._options = options
        # Cookies do not know ports: two consoles of one machine must not overwrite each other's.
        self._cookie = f"edgex-console-{port}"
        self._own_names = {"localhost", *options.hosts}
        if not options.is_loopback:
            name = socket.gethostname().lower()
            self._own_names |= {name, f"{name}.local", socket.getfqdn().lower(), options.host.lower()}

    def knows_host(self, host: str | None) -> bool:
        """Whether a request's Host is a name of this machine.

        A stranger's page may have its own name resolve to our address (DNS rebinding) and would then be of our origin;
        the name that it was asked for by gives it away. A port may be another one's: tunnels change it.
        """
        name = _hostname(host)
        if name is None:
            return False
        if name in self._own_names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._options.is_loopback

    def knows_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether the page that opens a WebSocket came from where the WebSocket goes."""
        if not origin or not host:
            return False
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()

    def is_admitted(self, cookies: str | None) -> bool:
        """Whether a request brings the token, in its cookie."""
        if not self.token:
            return True
        try:
            found = http.cookies.SimpleCookie(cookies or "").get(self._cookie)
        except http.cookies.CookieError:
            return False
        return found is not None and self.is_token(found.value)

    def is_token(self, text: str) -> bool:
        """Compare with the token, in the same time for every wrong one."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    def cookie(self) -> str:
        """The header that makes a browser bring the token from now on, out of reach of scripts."""
        secure = "; Secure" if self._options.scheme == "https" else ""
        return f"{self._cookie}={self.token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={COOKIE_S}{secure}"


class RateLimit:
    """So many a second, and a burst of so many at once."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at = time.monotonic()

    def allows(self) -> bool:
        """Take one, if there is one."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._per_second, self._burst)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _hostname(host: str | None) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return None
