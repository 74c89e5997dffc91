"""The console as a sink: what the run says is left on a board, which a server shows to whoever looks."""

from edgex_runtime.console.board import Board
from edgex_runtime.console.collect import Collector
from edgex_runtime.console.options import ConsoleOptions, parse_console_uri, recipe
from edgex_runtime.errors import MissingExtraError
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.mailbox import Mailbox, find_mailbox
from edgex_runtime.sources.source import Frame

try:
    from edgex_runtime.console.guard import Guard
    from edgex_runtime.console.health import HealthLog
    from edgex_runtime.console.listener import listen
    from edgex_runtime.console.server import ConsoleServer
    from edgex_runtime.console.studio import Studio
    from edgex_runtime.console.viewer import Desk
except ModuleNotFoundError as error:
    # Only the vendor's absence: a module of ours that is not there is a bug to be seen.
    if error.name != "websockets":
        raise
    raise MissingExtraError("the console is not installed: pip install 'edgex[console]'") from error


class ConsoleSink:
    """Leaves results where the server finds the newest; never waits for a viewer."""

    def __init__(self, desk: Desk, server: ConsoleServer) -> None:
        """Take over a server that has been started."""
        self._desk = desk
        self._server = server

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Leave it on the board."""
        self._desk.board.put(frame, result)

    def close(self) -> None:
        """Tell the viewers, and end the server; a second call does nothing."""
        self._server.close()
        for box in self._desk.mailboxes:
            box.is_served = False


def open_console(uri: str, surroundings: Surroundings) -> ConsoleSink:
    """Serve the console at an address: ``http://127.0.0.1:8080?collect=photos``.

    Its address is printed on stderr, with the token where one was made up.

    Raises:
        BadInputError: If the address, an option, the certificate or the folder cannot be used.
    """
    options = parse_console_uri(uri)
    listener = listen(options)
    guard = Guard(options, listener.port)
    board = Board(surroundings.sources or (surroundings.source,))
    desk = Desk(
        board=board,
        studio=Studio(board, surroundings.models),
        control=surroundings.control,
        models=surroundings.models,
        collector=Collector(options.collect, options.format) if options.collect else None,
        mailboxes=_mailboxes(surroundings),
        health=HealthLog(surroundings.health),
    )
    server = ConsoleServer(listener, guard, desk)
    board.on_news = server.tell
    server.start()
    for line in announce(options, listener.port, guard.token):
        surroundings.stderr.write(f"{line}\n")
    surroundings.stderr.flush()
    return ConsoleSink(desk, server)


def announce(options: ConsoleOptions, port: int, token: str) -> list[str]:
    """What is said at the start: where to look, and what protects it; a token that was made up, this once."""
    made_up = bool(token) and not options.token
    lines = [f"console: {options.url(port)}{f'?token={token}' if made_up else ''}"]
    if not options.is_loopback and options.cert is None:
        lines.append(
            "console: no TLS: whoever is on the way can read the pictures and the token, and browsers lend their "
            f"camera to https only. To have it: https://…?cert=cert.pem&key=key.pem; to make these: {recipe()}"
        )
    return lines


def _mailboxes(surroundings: Surroundings) -> tuple[Mailbox, ...]:
    sources = surroundings.sources or (surroundings.source,)
    found = tuple(box for source in sources if (box := find_mailbox(source.name)) is not None)
    for box in found:
        box.is_served = True
    return found
