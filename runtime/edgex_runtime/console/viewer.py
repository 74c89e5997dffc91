"""One viewer's connection: the newest update whenever it has shown the last ones, and what its buttons ask for."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from edgex_runtime.address import shown
from edgex_runtime.console.board import Board
from edgex_runtime.console.collect import Collector
from edgex_runtime.console.guard import RateLimit
from edgex_runtime.console.health import HealthLog
from edgex_runtime.console.messages import MAX_COMMAND_BYTES, Command, read_command, to_text, to_update
from edgex_runtime.console.studio import Picture, Studio, Wanted
from edgex_runtime.control import Control, ModelChoice
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.sources.mailbox import Mailbox

IN_FLIGHT = 2
"""Updates that a viewer may owe an answer for. With one, its rate would be bound to the network's round trip."""
KEPT_PICTURES = 4
POLICY_VIOLATION = 1008
TOO_BIG = 1009
COMMANDS_PER_S = 120
SAVES_PER_S = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What all viewers of a run share.

    Attributes:
        board: What the run says.
        studio: The pictures of it.
        control: Its switches.
        models: What classifies; None where nobody said.
        collector: Keeps frames; None where no folder was given.
        mailboxes: Where browsers' cameras may put pictures.
        health: How the board fares that this runs on; None where nobody asks.
    """

    board: Board
    studio: Studio
    control: Control
    models: ModelChoice | None = None
    collector: Collector | None = None
    mailboxes: tuple[Mailbox, ...] = ()
    health: HealthLog | None = None


class Ticker(Protocol):
    """Tells when there is something new to send."""

    async def after(self, edition: int) -> int:
        """Wait for an edition that is newer; returns its number."""
        ...


class Viewer:
    """Sends to one page and obeys it.

    Args:
        connection: Open.
        desk: What there is to show and to steer.
        ticker: Says when.
    """

    def __init__(self, connection: ServerConnection, desk: Desk, ticker: Ticker) -> None:
        self._connection = connection
        self._desk = desk
        self._ticker = ticker
        self._source = desk.board.statuses(paused=False)[0].name
        self._looks = True
        self._explain = False
        self._sent = self._answered = 0
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._pictures: OrderedDict[int, Picture] = OrderedDict()
        self._shown = 0
        self._point = self._notice = self._reading = -1
        self._commands = RateLimit(COMMANDS_PER_S, 2 * COMMANDS_PER_S)
        self._saves = RateLimit(SAVES_PER_S, 2 * SAVES_PER_S)

    @property
    def wanted(self) -> Wanted | None:
        """What it looks at; None for a page in the background."""
        return Wanted(self._source, explained=self._explain) if self._looks else None

    async def serve(self, hello: str) -> None:
        """Serve it until it leaves.

        Args:
            hello: What it is told first.
        """
        await self._connection.send(hello)
        sending = asyncio.create_task(self._send_updates())
        try:
            async for message in self._connection:
                if not await self._take(message):
                    return
        finally:
            sending.cancel()
            # Not `gather`: a fault of ours that ended it is to be logged, as that of any forgotten task is.
            await asyncio.wait([sending])

    async def _send_updates(self) -> None:
        edition = 0
        try:
            while True:
                await self._may_send.wait()
                edition = await self._ticker.after(edition)
                self._sent += 1
                if self._sent - self._answered >= IN_FLIGHT:
                    self._may_send.clear()
                await self._connection.send(self._update())
        except ConnectionClosed:
            return

    def _update(self) -> bytes:
        desk, source = self._desk, self._source
        points = desk.board.points(source, self._point)
        notices = desk.board.notices(self._notice)
        self._point = points[-1].number if points else self._point
        self._notice = notices[-1].number if notices else self._notice
        health = desk.health.after(self._reading) if desk.health else None
        self._reading = health.number if health else self._reading
        picture = desk.studio.picture(self.wanted) if self.wanted else None
        is_new = picture is not None and picture.number != self._shown
        if picture is not None and is_new:
            # What the page shows is what its save button keeps, although newer ones have come meanwhile.
            self._pictures[picture.number] = picture
            self._shown = picture.number
            while len(self._pictures) > KEPT_PICTURES:
                self._pictures.popitem(last=False)
        content: dict[str, Any] = {
            "number": self._sent,
            "source": source,
            "paused": desk.control.is_paused,
            "stopping": desk.control.is_stopped,
            "model": desk.models.current if desk.models else "",
            "statuses": desk.board.statuses(paused=desk.control.is_paused),
            "points": points,
            "notices": notices,
            "health": health,
            "trouble": desk.studio.trouble if self._explain else "",
            "picture": _caption(picture) if picture else None,
        }
        return to_update(content, picture.jpeg if picture is not None and is_new else b"")

    async def _take(self, message: str | bytes) -> bool:
        """Obey one message; False where the page breaks the rules, and is gone."""
        if not self._commands.allows():
            await self._connection.close(POLICY_VIOLATION, "too many messages")
            return False
        if len(message) > MAX_COMMAND_BYTES:
            await self._connection.close(TOO_BIG, "want a short message")
            return False
        try:
            if isinstance(message, bytes):
                raise SpecError("message: want text")
            command = read_command(message)
        except SpecError as error:
            # A close reason has room for 123 bytes.
            await self._connection.close(POLICY_VIOLATION, str(error).encode()[:120].decode(errors="ignore"))
            return False
        try:
            answer = await self._obey(command)
        except BadInputError as error:
            answer = {"error": str(error)}
        if answer is not None:
            await self._connection.send(to_text("answer", request=command.request, **answer))
        return True

    async def _obey(self, command: Command) -> dict[str, Any] | None:
        """Do it; returns what is to be answered."""
        if command.do == "seen":
            self._answered = max(self._answered, min(command.number, self._sent))
            if self._sent - self._answered < IN_FLIGHT:
                self._may_send.set()
            return None
        if command.do == "watch":
            self._watch(command)
        elif command.do == "save":
            return await self._save(command)
        elif command.do == "select":
            if self._desk.models is None:
                raise BadInputError("this run says nothing of its models")
            self._desk.models.select(command.model)
        else:
            getattr(self._desk.control, command.do)()
        self._desk.board.on_news()
        return {}

    def _watch(self, command: Command) -> None:
        if command.source not in {status.name for status in self._desk.board.statuses(paused=False)}:
            raise BadInputError(f"{command.source!r}: there is no such source")
        if command.source != self._source:
            self._point = -1
        self._source, self._looks, self._explain = command.source, command.picture, command.explain

    async def _save(self, command: Command) -> dict[str, Any]:
        collector, picture = self._desk.collector, self._pictures.get(command.number)
        if collector is None:
            raise BadInputError("nothing is collected here: start with --out 'http://127.0.0.1:8080?collect=photos'")
        if picture is None:
            raise BadInputError("that picture is gone already: try once more")
        if not self._saves.allows():
            raise BadInputError(f"at most {SAVES_PER_S} pictures a second are saved: wait a moment")
        saved = await asyncio.get_running_loop().run_in_executor(
            None, collector.save, picture.seen.frame.image, command.label
        )
        return {"saved": saved, "classes": collector.classes()}


def _caption(picture: Picture) -> dict[str, Any]:
    frame, result = picture.seen.frame, picture.seen.result
    return {
        "number": picture.number,
        "name": shown(frame.name),
        "size": (frame.image.shape[1], frame.image.shape[0]),
        "label": result.label,
        "score": result.score,
        "known": result.known,
        "reused": result.reused,
        "model": result.model,
        "top5": result.top5,
        "times": result.times,
        "explained_by": picture.by,
    }
