"""The page's files, as HTTP responses; everything that is served is read once, when the console starts."""

from http import HTTPStatus
from importlib.resources import files

from websockets.datastructures import Headers
from websockets.http11 import Response

from edgex_runtime.console.guard import HEADERS

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
LOGIN = "/login.html"


class Pages:
    """The files below `page/`, by path; there is nothing else to be had, and no listing."""

    def __init__(self) -> None:
        folder = files("edgex_runtime.console") / "page"
        self._files = {f"/{file.name}": file.read_bytes() for file in folder.iterdir() if file.name[0] not in "._"}

    def page(self) -> Response:
        """The console."""
        return self._respond(HTTPStatus.OK, "/console.html")

    def login(self) -> Response:
        """What asks for the token."""
        return self._respond(HTTPStatus.UNAUTHORIZED, LOGIN)

    def file(self, path: str) -> Response:
        """A style, a script or a drawing: nothing of a run is in them, so that they need no token."""
        if path not in self._files or path.endswith(".html"):
            return plain(HTTPStatus.NOT_FOUND, "there is no such page; the console is at /")
        return self._respond(HTTPStatus.OK, path)

    def _respond(self, status: HTTPStatus, path: str) -> Response:
        return respond(status, self._files[path], TYPES[path[path.rindex(".") :]])


def plain(status: HTTPStatus, text: str) -> Response:
    """A sentence."""
    return respond(status, f"{text}\n".encode(), "text/plain; charset=utf-8")


def redirect(cookie: str) -> Response:
    """To the console, with a cookie."""
    response = plain(HTTPStatus.SEE_OTHER, "the console is at /")
    response.headers["Location"] = "/"
    response.headers["Set-Cookie"] = cookie
    return response


def respond(status: HTTPStatus, body: bytes, kind: str) -> Response:
    """Any answer: with all the headers that keep a browser from doing more than the page needs."""
    headers = Headers(HEADERS)
    headers.update({"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, body)
