"""A connection to an MQTT broker that comes back by itself: one thread owns it, and nobody waits for it."""

import logging
import random
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgex_runtime.errors import BadInputError
from edgex_runtime.sinks.address import Address
from edgex_runtime.sinks.pacing import backoff_s

logger = logging.getLogger(__name__)

AT_LEAST_ONCE = 1
KEEPALIVE_S = 30
CONNECT_S = 5.0
LOOP_S = 0.05
"""How long a message may wait for the thread to look at it."""
IN_FLIGHT = 10
WAITING = 100
FAREWELL_S = 1.2
"""A run of one photo ends before it is connected: so long its result may still be published."""
JOIN_S = 1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is published; a retained one is kept by the broker for whoever comes later."""

    topic: str
    payload: str
    retain: bool = False


class Broker:
    """Publishes with QoS 1. `keep` and `send` may be called by any thread and return at once."""

    def __init__(self, address: Address, *, will: Message, ca: Path | None = None) -> None:
        """Prepare; `start` connects.

        Args:
            address: Where; `mqtts` with TLS.
            will: What the broker publishes when we vanish, and what we publish when we leave.
            ca: The certificates to trust instead of the system's.

        Raises:
            BadInputError: If the certificates cannot be read.
        """
        self._address = address
        self._will = will
        name = f"edgex-{random.getrandbits(48):012x}"
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, reconnect_on_failure=False)
        self._client.connect_timeout = CONNECT_S
        self._client.max_inflight_messages_set(IN_FLIGHT)
        self._client.will_set(will.topic, will.payload, qos=AT_LEAST_ONCE, retain=will.retain)
        if address.username is not None:
            self._client.username_pw_set(address.username, address.password)
        if address.scheme == "mqtts":
            try:
                self._client.tls_set(ca_certs=None if ca is None else str(ca))
            except OSError as error:
                raise BadInputError(f"{ca}: want certificates in PEM form: {error}") from error
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_publish = self._published
        self._thread = threading.Thread(target=self._run, name=f"edgex-mqtt {address.shown}", daemon=True)
        self._lock = threading.Lock()
        self._kept: dict[str, Message] = {}
        self._due: dict[str, None] = {}
        self._waiting: deque[Message] = deque()
        self._unconfirmed: set[int] = set()
        self._stopping = threading.Event()
        self._late_s = 0.0
        self._online = False
        self._failures = 0
        self._said = False
        self._dropped = 0
        self._delivered = 0

    @property
    def delivered(self) -> int:
        """Messages that the broker has confirmed."""
        return self._delivered

    @property
    def dropped(self) -> int:
        """Messages that gave way to newer ones while the broker was away."""
        return self._dropped

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def keep(self, message: Message) -> None:
        """Publish the newest of its topic, now and each time that the broker comes back."""
        with self._lock:
            self._dropped += message.topic in self._due
            self._kept[message.topic] = message
            self._due[message.topic] = None

    def send(self, message: Message) -> None:
        """Publish once; of too many the oldest give way."""
        with self._lock:
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(message)

    def close(self) -> None:
        """Publish what waits and the will, if the broker is there; a thread that is stuck in a connect is left."""
        self._late_s = time.monotonic() + FAREWELL_S
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        with self._lock:
            self._dropped += len(self._waiting) + len(self._due)
            self._waiting.clear()
            self._due.clear()

    def _run(self) -> None:
        while True:
            self._visit()
            if self._stopping.wait(backoff_s(self._failures)):
                return
            self._failures += 1

    def _visit(self) -> None:
        """Connect, and publish until the connection ends or we do."""
        client = self._client
        try:
            client.connect(self._address.host, self._address.port, keepalive=KEEPALIVE_S)
        except (OSError, UnicodeError) as error:
            self._say(str(error))
            return
        while client.loop(LOOP_S) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if self._stopping.is_set() and (self._online or time.monotonic() > self._late_s):
                self._leave()
                return
            if self._online:
                self._publish()

    def _leave(self) -> None:
        if self._online:
            self._publish()
            self._hand_over(self._will)
        while self._online and time.monotonic() < self._late_s and (self._publish() or self._unconfirmed):
            if self._client.loop(LOOP_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
        self._client.disconnect()
        # Once more, so that the socket is closed.
        self._client.loop(LOOP_S)

    def _publish(self) -> bool:
        """Hand over what may be in flight; whether more waits."""
        while len(self._unconfirmed) < IN_FLIGHT:
            with self._lock:
                message = self._next()
            if message is None:
                return False
            self._hand_over(message)
        return True

    def _next(self) -> Message | None:
        if self._waiting:
            return self._waiting.popleft()
        topic = next(iter(self._due), None)
        if topic is None:
            return None
        del self._due[topic]
        return self._kept[topic]

    def _hand_over(self, message: Message) -> None:
        # Whatever it returns: what was not sent is sent again by paho when the broker is back.
        info = self._client.publish(message.topic, message.payload, qos=AT_LEAST_ONCE, retain=message.retain)
        self._unconfirmed.add(info.mid)

    def _connected(self, _: Client, __: object, ___: ConnectFlags, reason: ReasonCode, ____: Properties | None) -> None:
        if reason.is_failure:
            self._say(f"{reason}")
            return
        if self._said:
            logger.warning("%s: the MQTT broker is back", self._address.shown)
        self._online, self._said, self._failures = True, False, 0
        with self._lock:
            self._due = dict.fromkeys(self._kept)

    def _disconnected(
        self, _: Client, __: object, ___: DisconnectFlags, reason: ReasonCode, ____: Properties | None
    ) -> None:
        if self._online and not self._stopping.is_set():
            self._say(f"{reason}")
        self._online = False

    def _published(self, _: Client, __: object, mid: int, ___: ReasonCode, ____: Properties) -> None:
        self._delivered += mid in self._unconfirmed
        self._unconfirmed.discard(mid)

    def _say(self, why: str) -> None:
        """Once for each time that it goes away."""
        if not self._said:
            self._said = True
            logger.warning(
                "%s: the MQTT broker cannot be used: %s; the run goes on and tries it again", self._address.shown, why
            )
