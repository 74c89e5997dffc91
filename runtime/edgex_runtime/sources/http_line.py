"""One HTTP request to a camera: http and https only, log-in, verified TLS, and a line that another thread can cut."""

import http.client
import socket
import ssl
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from edgex_runtime.errors import BadInputError, EdgexError, SourceLostError
from edgex_runtime.sources.camera_url import CameraUrl, tls_context
from edgex_runtime.sources.network import Cord, explain

SCHEMES = ("http", "https")
# What a camera answers with when the address or the user is wrong, not when it is busy or starting.
USERS_MISTAKES = (400, 401, 403, 404, 405, 410, 414)

FAILURES = (OSError, http.client.HTTPException, ValueError)
"""What a request and a read of its response may raise."""


class Line:
    """Opens requests; `cord` cuts the connection of the one that is open."""

    def __init__(self, url: CameraUrl, *, timeout_s: float, context: ssl.SSLContext | None) -> None:
        """Hold where to ask; `timeout_s` is for each single wait."""
        self._url = url
        self._timeout_s = timeout_s
        self._context = context
        self.cord = Cord()

    def get(self) -> http.client.HTTPResponse:
        """Ask once, redirects followed.

        Raises:
            OSError, http.client.HTTPException, ValueError: If no answer came; `explain` has the words.
        """
        opener = urllib.request.OpenerDirector()
        for handler in self._handlers():
            opener.add_handler(handler)
        # Cameras are asked directly: a proxy of the environment would not find one on the local network.
        response: http.client.HTTPResponse = opener.open(self._url.address, timeout=self._timeout_s)
        return response

    def explain(self, error: Exception) -> EdgexError:
        """An error of `get`, or of reading its response, in the words of this camera."""
        name = self._url.name
        if isinstance(error, HTTPError):
            error.close()
            return self._explain_code(error.code)
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, http.client.InvalidURL):
            return BadInputError(f"{name}: want an address, this is none: write odd characters percent-encoded")
        if isinstance(reason, ValueError) and not isinstance(reason, OSError):
            return BadInputError(
                f"{name}: its way to log in cannot be answered: use letters of ASCII in user and password, or set the "
                "camera to Basic or Digest MD5"
            )
        return explain(reason, name=name, timeout_s=self._timeout_s)

    def _explain_code(self, code: int) -> EdgexError:
        # In our words: the camera's may repeat an address with its secrets.
        answer = f"the camera answers {code} {http.client.responses.get(code, '')}".rstrip()
        if 300 <= code < 400:
            return BadInputError(
                f"{self._url.name}: want a stream, {answer}: its redirect does not lead to http or https"
            )
        if code in USERS_MISTAKES:
            advice = "check user and password" if code in (401, 403) else "check the address"
            return BadInputError(f"{self._url.name}: want a stream, {answer}: {advice}")
        return SourceLostError(f"{self._url.name}: {answer}")

    def _handlers(self) -> list[urllib.request.BaseHandler]:
        return [
            _Plain(self.cord.keep),
            _Tls(self.cord.keep, self._tls),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
            _Redirects(),
            *self._log_in(),
        ]

    def _tls(self) -> ssl.SSLContext:
        # None for a plain address, which may lead to an encrypted one.
        return self._context or tls_context(None, "yes")

    def _log_in(self) -> list[urllib.request.BaseHandler]:
        if self._url.credentials is None:
            return []
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        # Bound to this host and port: a redirect elsewhere does not carry them along.
        root = "{0.scheme}://{0.netloc}/".format(urlsplit(self._url.address))
        passwords.add_password(None, root, *self._url.credentials)
        return [urllib.request.HTTPDigestAuthHandler(passwords), urllib.request.HTTPBasicAuthHandler(passwords)]


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """As usual, but never away from http and https, and never from https back to http."""
        scheme = urlsplit(newurl).scheme
        if scheme not in SCHEMES or (req.type == "https" and scheme == "http"):
            raise HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, keep: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._keep = keep

    def http_open(self, req: Any) -> Any:
        """Open by a connection that is known to the line."""
        return self.do_open(_kept(http.client.HTTPConnection, self._keep), req)


class _Tls(urllib.request.AbstractHTTPHandler):
    https_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(self, keep: Callable[[socket.socket], None], context: Callable[[], ssl.SSLContext]) -> None:
        super().__init__()
        self._keep = keep
        self._context = context

    def https_open(self, req: Any) -> Any:
        """Open by a connection that is known to the line."""
        return self.do_open(_kept(http.client.HTTPSConnection, self._keep), req, context=self._context())


def _kept(kind: type[http.client.HTTPConnection], keep: Callable[[socket.socket], None]) -> Any:
    class Connection(kind):  # type: ignore[misc, valid-type]
        def connect(self) -> None:
            super().connect()
            keep(self.sock)

    return Connection
