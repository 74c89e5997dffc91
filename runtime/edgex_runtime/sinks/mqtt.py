"""MQTT: each source's newest result and its events, for home automation and other programs.

`mqtt://[user:password@]host[:port]/topic`, `mqtts://` with TLS. Retained: `topic/availability` (online, offline) and
`topic/result` (JSON); each once: `topic/event` (JSON). With several sources `topic/SOURCE/result` and `…/event`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from edgex_runtime.address import shown
from edgex_runtime.errors import BadInputError
from edgex_runtime.sinks.address import Address, parse_address, read_secret
from edgex_runtime.sinks.broker import Broker, Message
from edgex_runtime.sinks.homeassistant import Device, Topics, discovery
from edgex_runtime.sinks.pacing import Novelty, Pace
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.options import parse_seconds
from edgex_runtime.sources.source import Frame

PORTS = {"mqtt": 1883, "mqtts": 8883}
ONLINE, OFFLINE = "online", "offline"
NO_DISCOVERY = "off"
OPTIONS: dict[str, Callable[[str], object]] = {
    "every": parse_seconds,
    "refresh": parse_seconds,
    "discovery": str,
    "name": str,
    "ca": Path,
    "password-file": Path,
}
EVERY_S = 1.0
REFRESH_S = 30.0
MAX_TOPIC = 200
MAX_SLUG = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions:
    """What is published where.

    Attributes:
        topic: The part that all topics begin with.
        pace: How often.
        prefix: Where Home Assistant listens; None tells it nothing.
        name: What a person calls the device.
        model: The classifier's name.
        several: Whether each source has topics of its own.
    """

    topic: str
    pace: Pace
    prefix: str | None
    name: str
    model: str
    several: bool


class MqttSink:
    """Tells a broker what changed; publishing itself is the broker's thread's work."""

    def __init__(self, broker: Broker, options: MqttOptions) -> None:
        """Store, and begin to connect."""
        self._broker = broker
        self._options = options
        self._sources: dict[str, _Source] = {}
        self._closed = False
        broker.keep(Message(topic=f"{options.topic}/availability", payload=ONLINE, retain=True))
        broker.start()

    @property
    def delivered(self) -> int:
        """Messages that the broker has."""
        return self._broker.delivered

    @property
    def dropped(self) -> int:
        """Messages that were never published."""
        return self._broker.dropped

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Publish a result that says something new; its events always."""
        source = self._sources.get(result.source)
        if source is None:
            source = self._sources[result.source] = self._introduce(result.source)
        source.take(result)
        for event in result.events:
            payload = {"event_type": event.kind, "label": event.label, **_common(result)}
            self._broker.send(Message(topic=source.topics.event, payload=_to_json(payload)))
        if source.novelty.is_due(result):
            self._tell(source, result)

    def close(self) -> None:
        """Publish the last words, and go offline."""
        if self._closed:
            return
        self._closed = True
        for source in self._sources.values():
            if source.last is not None and not source.novelty.is_told(source.last):
                self._tell(source, source.last)
        self._broker.close()

    def _tell(self, source: "_Source", result: LiveResult) -> None:
        payload = {
            "label": result.shown_label,
            "score": None if result.score is None else round(result.score, 4),
            "known": result.known,
            "age_ms": None if result.age_ms is None else round(result.age_ms, 1),
            "present": sorted(source.present),
            **_common(result),
        }
        self._broker.keep(Message(topic=source.topics.result, payload=_to_json(payload), retain=True))

    def _introduce(self, name: str) -> "_Source":
        """Give a source its topics, and tell Home Assistant of it."""
        options = self._options
        slug = _slug(shown(name))
        taken = {source.slug for source in self._sources.values()}
        while slug in taken:
            slug += "_"
        base = f"{options.topic}/{slug}" if options.several else options.topic
        topics = Topics(availability=f"{options.topic}/availability", result=f"{base}/result", event=f"{base}/event")
        if options.prefix is not None:
            called = f"{options.name} {shown(name)}" if options.several else options.name
            device = Device(id=f"edgex_{_slug(base)}", name=called, model=options.model, version=version("edgex"))
            for topic, config in discovery(device, topics, options.prefix):
                self._broker.keep(Message(topic=topic, payload=_to_json(config), retain=True))
        return _Source(topics, slug, Novelty(options.pace))


class _Source:
    def __init__(self, topics: Topics, slug: str, novelty: Novelty) -> None:
        self.topics = topics
        self.slug = slug
        self.novelty = novelty
        self.present: set[str] = set()
        self.last: LiveResult | None = None

    def take(self, result: LiveResult) -> None:
        """Follow who is in view."""
        self.last = replace(result, events=())
        for event in result.events:
            if event.kind == "appeared":
                self.present.add(event.label)
            else:
                self.present.discard(event.label)


def _common(result: LiveResult) -> dict[str, object]:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return {"state": result.state.value, "source": shown(result.source), "model": result.model, "at": now}


def _to_json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _slug(text: str) -> str:
    """What is safe in a topic and in an id.

    >>> _slug("rtsp://10.0.0.7/stream 1")
    'rtsp_10_0_0_7_stream_1'
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[-MAX_SLUG:].strip("_") or "source"


def open_mqtt(uri: str, surroundings: Surroundings) -> MqttSink:
    """Begin to connect to a broker; that it is not there is no error, it may come later.

    Raises:
        BadInputError: If the URI is not one, or its files cannot be read.
    """
    address = parse_address(uri, port=PORTS[uri.partition(":")[0]], known=OPTIONS)
    options = address.options
    topic = _topic(address.path.strip("/"), address.shown)
    prefix = str(options.get("discovery", "homeassistant"))
    refresh_s = float(str(options.get("refresh", REFRESH_S)))
    settings = MqttOptions(
        topic=topic,
        pace=Pace(
            every_ns=round(float(str(options.get("every", EVERY_S))) * 1e9),
            refresh_ns=round(refresh_s * 1e9) if refresh_s else None,
        ),
        prefix=None if prefix == NO_DISCOVERY else _topic(prefix, address.shown),
        name=str(options.get("name", topic)),
        model=surroundings.models.spec.name if surroundings.models is not None else "",
        several=len(surroundings.sources) > 1,
    )
    will = Message(topic=f"{topic}/availability", payload=OFFLINE, retain=True)
    ca = options.get("ca")
    broker = Broker(_with_password(address), will=will, ca=ca if isinstance(ca, Path) else None)
    return MqttSink(broker, settings)


def _topic(text: str, where: str) -> str:
    if not text or len(text) > MAX_TOPIC or re.search(r"[+#\x00-\x1f\x7f]|^\$|^/|//|/$", text):
        raise BadInputError(
            f"{where}: want mqtt://HOST/TOPIC, the topic without + and # and empty levels, got {text!r}"
        )
    return text


def _with_password(address: Address) -> Address:
    """Take the password from the file that the options name: a command line is seen by everyone on the machine."""
    password = read_secret(address.options.get("password-file"))
    return address if password is None else replace(address, password=password)
