"""One browser's camera: JPEGs come by WebSocket, the next one when the last was taken, and go into a mailbox.

The page says of each picture when it was captured, by its own clock, whose offset from ours is measured all the while
by the messages themselves (as NTP does): see `PeerClock`.
"""

import asyncio
import functools
import struct
from collections import deque
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection

from edgex_runtime.console.guard import RateLimit
from edgex_runtime.console.messages import to_text
from edgex_runtime.console.threads import call_soon
from edgex_runtime.sources.mailbox import Mailbox

HEADER = struct.Struct("<dddd")
MAX_SIDE_PX = 1280
MAX_FRAMES_PER_S = 60
ACKNOWLEDGE_S = 0.25
"""A loop that is busy elsewhere lets a picture lie: then a newer one is better."""
EXCHANGES = 64
POLICY_VIOLATION = 1008
TAKEN_OVER = 4001


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamps:
    """What a picture's header says, in milliseconds.

    Attributes:
        captured: When the camera took it, by the page's clock.
        sent: When it was sent, by the page's clock.
        told: The newest time of ours that the page was told, by our clock.
        heard: When the page heard it, by the page's clock.
    """

    captured: float
    sent: float
    told: float
    heard: float


class PeerClock:
    """How a page's clock stands to ours, from the last `EXCHANGES` pairs of a message and its answer.

    A message that we sent at `told` was heard later, one that was sent to us at `sent` arrives later: so our clock
    minus the page's lies between `told − heard` and `arrived − sent`. The narrowest such bounds are taken, and their
    middle: it is wrong by half the quickest round trip at most.
    """

    def __init__(self) -> None:
        self._bounds: deque[tuple[float, float]] = deque(maxlen=EXCHANGES)

    def capture_ms(self, stamps: Stamps, arrived_ms: float) -> float:
        """When the picture was captured, by our clock; never later than it arrived."""
        self._bounds.append((stamps.told - stamps.heard, arrived_ms - stamps.sent))
        low = max(bound[0] for bound in self._bounds)
        high = min(bound[1] for bound in self._bounds)
        return min(stamps.captured + (low + high) / 2, arrived_ms)


class CameraDesk:
    """Gives each mailbox to one browser at a time: the one that came last, for it is the one in somebody's hand."""

    def __init__(self) -> None:
        self._holders: dict[str, ServerConnection] = {}

    async def serve(self, connection: ServerConnection, box: Mailbox) -> None:
        """Take this browser's pictures until it leaves or another one takes over."""
        before = self._holders.get(box.name)
        self._holders[box.name] = connection
        if before is not None:
            await before.close(TAKEN_OVER, "another browser's camera has taken over")
        try:
            await _receive(connection, box)
        finally:
            if self._holders.get(box.name) is connection:
                del self._holders[box.name]


async def _receive(connection: ServerConnection, box: Mailbox) -> None:
    clock, rate = PeerClock(), RateLimit(MAX_FRAMES_PER_S, MAX_FRAMES_PER_S)
    await connection.send(to_text("camera", told=_now_ms(box), max_side=MAX_SIDE_PX))
    loop = asyncio.get_running_loop()
    async for message in connection:
        arrived_ms = _now_ms(box)
        stamps = read_stamps(message)
        if stamps is None or not rate.allows():
            await connection.close(POLICY_VIOLATION, "want pictures, each with its header, 60 a second at most")
            return
        gone = asyncio.Event()
        captured_ns = round(clock.capture_ms(stamps, arrived_ms) * 1e6)
        box.put(bytes(message[HEADER.size :]), captured_ns, functools.partial(call_soon, loop, gone.set))  # type: ignore[arg-type]
        overdue = loop.call_later(ACKNOWLEDGE_S, gone.set)
        await gone.wait()
        overdue.cancel()
        await connection.send(to_text("taken", told=_now_ms(box)))


def read_stamps(message: str | bytes) -> Stamps | None:
    """The header of a picture; None where it is no picture."""
    if not isinstance(message, bytes) or len(message) <= HEADER.size:
        return None
    values = HEADER.unpack_from(message)
    # Milliseconds since a page was opened or a machine was started: 1e13 are three hundred years. NaN fails too.
    if not all(-1e13 < value < 1e13 for value in values):
        return None
    return Stamps(captured=values[0], sent=values[1], told=values[2], heard=values[3])


def _now_ms(box: Mailbox) -> float:
    return box.clock.now_ns() / 1e6
