"""The console's server: a thread of its own with an event loop of its own, which ends within two seconds."""

import asyncio
import logging
import threading
from http import HTTPStatus
from urllib.parse import parse_qs

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from edgex_runtime.console.camera import CameraDesk
from edgex_runtime.console.facts import model_facts
from edgex_runtime.console.guard import Guard
from edgex_runtime.console.listener import Listener
from edgex_runtime.console.messages import to_text
from edgex_runtime.console.pages import LOGIN, Pages, plain, redirect
from edgex_runtime.console.threads import call_soon
from edgex_runtime.console.viewer import Desk, Viewer
from edgex_runtime.health import PERIOD_S as HEALTH_PERIOD_S
from edgex_runtime.sources.mailbox import Mailbox

MAX_CONNECTIONS = 32
MAX_MESSAGE_BYTES = 2**21
"""Of a camera's picture; a viewer's messages are held to much less (`messages.MAX_COMMAND_BYTES`)."""
PERIOD_S = 1 / 30
HEARTBEAT_S = 0.5
"""The longest that viewers hear nothing: their plots move on, and ages grow."""
WRONG_TOKEN_S = 1.0
CLOSE_S = 1.0
JOIN_S = 3.0
OPEN_S = 5.0
GOING_AWAY = 1001


class _Strangers(logging.Filter):
    """What scanners and half-open connections do is not our user's news; a fault of ours still is."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.msg != "opening handshake failed"


_websockets_logger = logging.getLogger(f"{__name__}.websockets")
_websockets_logger.addFilter(_Strangers())


class ConsoleServer:
    """Serves one run's console.

    Args:
        listener: Where; closed when the server ends.
        guard: Decides who may.
        desk: What there is to see and to steer.
    """

    def __init__(self, listener: Listener, guard: Guard, desk: Desk) -> None:
        self._listener = listener
        self._guard = guard
        self._desk = desk
        self._models = model_facts(desk.models)
        self._mailboxes = {box.name: box for box in desk.mailboxes}
        self._pages = Pages()
        self._cameras = CameraDesk()
        self._viewers: set[Viewer] = set()
        self._connections = 0
        self._edition = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._ending = False
        self._printed = asyncio.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="edgex-console", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def tell(self) -> None:
        """Say that there is something new; by any thread."""
        if self._loop is not None and (self._viewers or self._ending):
            call_soon(self._loop, self._news.set)

    def close(self) -> None:
        """Tell the viewers that the run has ended, and end."""
        self._ending = True
        self.tell()
        self._thread.join(JOIN_S)

    async def after(self, edition: int) -> int:
        """Wait for an edition newer than that one; see `viewer.Ticker`."""
        async with self._printed:
            await self._printed.wait_for(lambda: self._edition > edition)
            return self._edition

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await serve(
            self._handle,
            sock=self._listener.sock,
            ssl=self._listener.tls,
            process_request=self._answer,
            compression=None,  # JPEGs do not shrink, and a small message could unfold into a large one.
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            server_header=None,
            logger=_websockets_logger,
        )
        measuring = asyncio.create_task(self._measure())
        await self._publish(self._loop)
        measuring.cancel()
        await self._close(server)
        self._desk.studio.close()

    async def _measure(self) -> None:
        """Read the board's health now and then, in a thread: it may have to wait for a sensor."""
        while (health := self._desk.health) is not None:
            await asyncio.to_thread(health.measure)
            await asyncio.sleep(HEALTH_PERIOD_S)

    async def _close(self, server: Server) -> None:
        connections = list(server.connections)
        server.close(code=GOING_AWAY, reason="the run has ended")
        closing = asyncio.ensure_future(server.wait_closed())
        await asyncio.wait([closing], timeout=CLOSE_S)
        if not closing.done():
            # Someone who does not read does not hear of the end either.
            for connection in connections:
                connection.transport.abort()

    async def _publish(self, loop: asyncio.AbstractEventLoop) -> None:
        """Whenever there is news, make the pictures that are looked at and let the viewers know; the last news too."""
        last = False
        while not last:
            heartbeat = loop.call_later(HEARTBEAT_S, self._news.set)
            await self._news.wait()
            heartbeat.cancel()
            self._news.clear()
            last = self._ending
            began_s = loop.time()
            await self._desk.studio.refresh(filter(None, [viewer.wanted for viewer in self._viewers]))
            async with self._printed:
                self._edition += 1
                self._printed.notify_all()
            await asyncio.sleep(max(began_s + PERIOD_S - loop.time(), 0.0))

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Decide on one request; None opens a WebSocket."""
        if request.method != "GET":
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, "want GET")
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1 or not self._guard.knows_host(hosts[0]):
            return plain(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this console does not answer to that name: open it by its address, or start it with ?host=NAME",
            )
        path, query = _split(request)
        cookies = request.headers.get_all("Cookie")
        admitted = self._guard.is_admitted("; ".join(cookies))
        if path in ("/live", "/camera"):
            return self._answer_socket(request, hosts[0], admitted=admitted)
        if path in ("/", LOGIN):
            return await self._answer_page(query.get("token"), admitted=admitted)
        return self._pages.file(path)

    def _answer_socket(self, request: Request, host: str, *, admitted: bool) -> Response | None:
        origins = request.headers.get_all("Origin")
        if len(origins) != 1 or not self._guard.knows_origin(origins[0], host):
            return plain(HTTPStatus.FORBIDDEN, "this connection is for the console's own page")
        if not admitted:
            return plain(HTTPStatus.UNAUTHORIZED, "want the token")
        if self._connections >= MAX_CONNECTIONS:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, "too many viewers")
        if _split(request)[0] == "/camera" and self._mailbox(request) is None:
            return plain(HTTPStatus.NOT_FOUND, "no such camera is wanted")
        return None

    async def _answer_page(self, tokens: list[str] | None, *, admitted: bool) -> Response:
        if tokens and self._guard.token:
            if len(tokens) == 1 and self._guard.is_token(tokens[0]):
                return redirect(self._guard.cookie())
            await asyncio.sleep(WRONG_TOKEN_S)
            return self._pages.login()
        return self._pages.page() if admitted else self._pages.login()

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None, "the handshake is over"
        self._connections += 1
        try:
            box = self._mailbox(connection.request)
            if _split(connection.request)[0] == "/camera" and box is not None:
                await self._cameras.serve(connection, box)
            else:
                await self._serve_viewer(connection)
        except ConnectionClosed:
            return
        finally:
            self._connections -= 1

    async def _serve_viewer(self, connection: ServerConnection) -> None:
        viewer = Viewer(connection, self._desk, self)
        self._viewers.add(viewer)
        self._news.set()
        try:
            await viewer.serve(self._hello())
        finally:
            self._viewers.discard(viewer)

    def _hello(self) -> str:
        collector = self._desk.collector
        return to_text(
            "hello",
            models=self._models,
            cameras=tuple(self._mailboxes),
            classes=None if collector is None else collector.classes(),
        )

    def _mailbox(self, request: Request) -> Mailbox | None:
        return self._mailboxes.get(_split(request)[1].get("box", [""])[0])


def _split(request: Request) -> tuple[str, dict[str, list[str]]]:
    """Path and options of a request. Not by `urlsplit`, which takes ``//x`` for a host."""
    path, _, query = request.path.partition("?")
    return path, parse_qs(query)
