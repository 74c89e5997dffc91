"""MQTT, with a real broker that is killed, restarted, guarded by a password and by TLS."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.predictions import Score
from edgex_runtime.sinks.queued import QueuedSink
from edgex_runtime.sinks.registry import Surroundings, open_queued, open_sink
from edgex_runtime.sinks.sink import Event, LiveResult
from edgex_runtime.sources.source import SourceInfo

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto: apt-get install mosquitto")
CAMERA = SourceInfo(name="door", live=True, fps=30.0)
TIMEOUT_S = 15.0
PASSWORD = "sesame/öffne dich"
IN_URI = "sesame%2F%C3%B6ffne%20dich"

RESULT = LiveResult(
    state=State.LIVE,
    name="door#1",
    at_ns=0,
    age_ms=31.26,
    dropped=0,
    index=1,
    label="cat",
    score=0.93,
    top5=(Score(label="cat", score=0.93),),
    source="door",
)


def wait_for(condition: Callable[[], object]) -> None:
    late = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < late, "did not happen"
        time.sleep(0.01)


@dataclass
class Mosquitto:
    """A broker on a port of its own, which can be killed and started again."""

    folder: Path
    port: int
    tls: bool = False
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous false", f"password_file {self.folder}/passwords"]
        if self.tls:
            lines += [f"certfile {self.folder}/broker.pem", f"keyfile {self.folder}/broker.key"]
        config.write_text("\n".join([*lines, "user root\n"]))
        assert MOSQUITTO is not None
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stderr=subprocess.DEVNULL)
        wait_for(self.answers)

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(TIMEOUT_S)
            self.process = None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "passwords").touch(0o600)
    add = ["mosquitto_passwd", "-b", str(tmp_path / "passwords"), "me", PASSWORD]
    subprocess.run(add, check=True, capture_output=True)
    broker = Mosquitto(tmp_path, free_port())
    yield broker
    broker.kill()


@dataclass
class Listener:
    """Hears everything that a broker publishes."""

    heard: list[tuple[str, str, bool]] = field(default_factory=list)

    def payloads(self, topic: str) -> list[str]:
        return [payload for of, payload, _ in list(self.heard) if of == topic]

    def last(self, topic: str) -> str | None:
        return next(reversed(self.payloads(topic)), None)


@pytest.fixture
def listen(broker: Mosquitto) -> Iterator[Callable[[], Listener]]:
    clients: list[Client] = []

    def start() -> Listener:
        listener, ready = Listener(), threading.Event()
        client = Client(CallbackAPIVersion.VERSION2)
        clients.append(client)
        client.username_pw_set("me", PASSWORD)
        if broker.tls:
            client.tls_set(str(broker.folder / "broker.pem"))

        def hear(_: Client, __: object, message: MQTTMessage) -> None:
            listener.heard.append((message.topic, message.payload.decode(), message.retain))

        client.on_message = hear
        client.on_subscribe = lambda *_: ready.set()
        client.on_connect = lambda *_: client.subscribe("#", qos=1)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        assert ready.wait(TIMEOUT_S)
        return listener

    yield start
    for client in clients:
        client.disconnect()
        client.loop_stop()


def open_it(broker: Mosquitto, query: str = "", sources: tuple[SourceInfo, ...] = ()) -> QueuedSink:
    scheme = "mqtts" if broker.tls else "mqtt"
    uri = f"{scheme}://me:{IN_URI}@127.0.0.1:{broker.port}/home/door{query}"
    return open_queued(uri, Surroundings(source=CAMERA, sources=sources))


@needs_mosquitto
def test_a_broker_hears_of_results_events_and_the_end(broker: Mosquitto, listen: Callable[[], Listener]) -> None:
    broker.start()
    listener = listen()
    sink = open_it(broker)
    sink.write(None, replace(RESULT, events=(Event(kind="appeared", label="cat"),)))
    wait_for(lambda: listener.last("home/door/result") and listener.last("home/door/event"))
    assert listener.last("home/door/availability") == "online"
    told = json.loads(listener.last("home/door/result") or "")
    at = told.pop("at")
    assert told == {
        "label": "cat",
        "score": 0.93,
        "known": True,
        "age_ms": 31.3,
        "present": ["cat"],
        "state": "LIVE",
        "source": "door",
        "model": "",
    }
    assert at.endswith("+00:00")
    event = json.loads(listener.last("home/door/event") or "")
    assert (event["event_type"], event["label"]) == ("appeared", "cat")
    sink.close()
    wait_for(lambda: listener.last("home/door/availability") == "offline")


@needs_mosquitto
def test_whoever_comes_later_finds_the_newest_result_and_home_assistants_entities(
    broker: Mosquitto, listen: Callable[[], Listener]
) -> None:
    broker.start()
    sink = open_it(broker, "?name=Front%20door")
    sink.write(None, RESULT)
    sink.close()
    listener = listen()
    # In whichever order the broker gives them.
    wait_for(lambda: listener.last("home/door/result") and len(listener.heard) >= 9)
    assert all(retained for _, _, retained in listener.heard)
    configs = {topic: json.loads(payload) for topic, payload, _ in listener.heard if topic.endswith("/config")}
    assert {tuple(topic.split("/")[:4:3]) for topic in configs} == {
        ("homeassistant", "label"),
        ("homeassistant", "score"),
        ("homeassistant", "age"),
        ("homeassistant", "state"),
        ("homeassistant", "camera"),
        ("homeassistant", "in_view"),
        ("homeassistant", "event"),
    }
    assert len({config["unique_id"] for config in configs.values()}) == 7
    for topic, config in configs.items():
        assert config["device"]["identifiers"] == ["edgex_home_door"]
        assert config["device"]["name"] == "Front door"
        assert config["state_topic"] == ("home/door/event" if "/event/" in topic else "home/door/result")
        assert config["availability"][0] == {"topic": "home/door/availability"}
        assert "sesame" not in json.dumps(config)


@needs_mosquitto
def test_a_broker_that_comes_late_dies_and_comes_back_hears_the_newest(
    broker: Mosquitto, listen: Callable[[], Listener], caplog: pytest.LogCaptureFixture
) -> None:
    sink = open_it(broker)
    start = time.perf_counter()
    for index in range(300):
        sink.write(None, replace(RESULT, index=index, label=f"early {index}", at_ns=index * 10**10))
    assert time.perf_counter() - start < 0.5
    wait_for(lambda: "cannot be used" in caplog.text)
    broker.start()
    listener = listen()
    wait_for(lambda: '"early 299"' in (listener.last("home/door/result") or ""))
    broker.kill()
    wait_for(lambda: caplog.text.count("cannot be used") == 2)
    for index in range(300):
        sink.write(None, replace(RESULT, index=index, label=f"late {index}", at_ns=index * 10**10 + 10**13))
    broker.start()
    listener = listen()
    wait_for(lambda: '"late 299"' in (listener.last("home/door/result") or ""))
    assert listener.last("home/door/availability") == "online"
    assert listener.last("homeassistant/sensor/edgex_home_door/label/config")
    sink.close()
    assert sink.figures().dropped >= 500
    assert caplog.text.count("cannot be used") == 2
    assert "sesame" not in caplog.text


@needs_mosquitto
@pytest.mark.parametrize("wakes", [True, False])
def test_a_broker_that_hangs_with_messages_in_flight_hears_the_newest_when_it_is_well_again(
    broker: Mosquitto, listen: Callable[[], Listener], wakes: bool
) -> None:
    broker.start()
    listener = listen()
    sink = open_it(broker)
    sink.write(None, RESULT)
    wait_for(lambda: listener.last("home/door/result"))
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    for index in range(60):
        # One at a time, so that as many as may be are in flight.
        sink.write(None, replace(RESULT, index=index, label=f"cat {index}", at_ns=(index + 1) * 10**10))
        time.sleep(0.02)
    if wakes:
        broker.process.send_signal(signal.SIGCONT)
    else:
        broker.kill()
        broker.start()
        listener = listen()
    wait_for(lambda: '"cat 59"' in (listener.last("home/door/result") or ""))
    sink.write(None, replace(RESULT, label="dog", at_ns=10**13))
    wait_for(lambda: '"dog"' in (listener.last("home/door/result") or ""))
    sink.close()
    assert 0 < sink.figures().dropped < 60


@needs_mosquitto
def test_a_run_that_vanishes_is_offline_by_its_last_will(
    broker: Mosquitto, listen: Callable[[], Listener], tmp_path: Path
) -> None:
    broker.start()
    listener = listen()
    code = (
        "import sys, time\n"
        "from edgex_runtime.sinks.registry import Surroundings, open_queued\n"
        "from edgex_runtime.sources.source import SourceInfo\n"
        "sink = open_queued(sys.argv[1], Surroundings(source=SourceInfo(name='door', live=True)))\n"
        "time.sleep(60)\n"
    )
    uri = f"mqtt://me:{IN_URI}@127.0.0.1:{broker.port}/home/door"
    with subprocess.Popen([sys.executable, "-c", code, uri]) as child:
        wait_for(lambda: listener.last("home/door/availability") == "online")
        child.kill()
    wait_for(lambda: listener.last("home/door/availability") == "offline")


@needs_mosquitto
def test_a_wrong_password_is_told_once_and_ends_nothing(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    broker.start()
    sink = open_queued(f"mqtt://me:wrong@127.0.0.1:{broker.port}/home", Surroundings(source=CAMERA))
    for index in range(10):
        sink.write(None, replace(RESULT, index=index))
    wait_for(lambda: "uthori" in caplog.text)
    time.sleep(0.7)
    start = time.perf_counter()
    sink.close()
    assert time.perf_counter() - start < 2
    assert caplog.text.count("cannot be used") == 1


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@needs_mosquitto
def test_tls_holds_the_broker_to_its_certificate(
    broker: Mosquitto, listen: Callable[[], Listener], caplog: pytest.LogCaptureFixture
) -> None:
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "broker.key", "-out", "broker.pem"]
    subprocess.run([*make.split(), *names], check=True, capture_output=True, cwd=broker.folder)
    broker.tls = True
    broker.start()
    distrusting = open_it(broker)
    wait_for(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
    distrusting.close()
    listener = listen()
    (broker.folder / "secret").write_text(PASSWORD + "\n", encoding="utf-8")
    files = f"?ca={broker.folder}/broker.pem&password-file={broker.folder}/secret"
    sink = open_queued(f"mqtts://me@127.0.0.1:{broker.port}/safe{files}", Surroundings(source=CAMERA))
    sink.write(None, RESULT)
    wait_for(lambda: listener.last("safe/result"))
    sink.close()


@needs_mosquitto
def test_each_of_several_sources_has_its_topics(broker: Mosquitto, listen: Callable[[], Listener]) -> None:
    broker.start()
    listener = listen()
    sources = (replace(CAMERA, name="rtsp://me:sesame@10.0.0.7/1"), replace(CAMERA, name="yard"))
    sink = open_it(broker, "?discovery=off", sources)
    for source in sources:
        sink.write(None, replace(RESULT, source=source.name))
    sink.close()
    wait_for(lambda: listener.last("home/door/yard/result") and listener.last("home/door/rtsp_10_0_0_7_1/result"))
    assert not any("config" in topic for topic, _, _ in listener.heard)
    assert "sesame" not in str(listener.heard)


@needs_mosquitto
def test_what_waits_when_the_run_ends_is_published_before_it_does(
    broker: Mosquitto, listen: Callable[[], Listener]
) -> None:
    broker.start()
    listener = listen()
    sink = open_it(broker, "?every=1s")
    sink.write(None, RESULT)
    wait_for(lambda: listener.last("home/door/result"))
    for index in range(40):
        left = (Event(kind="left", label=f"cat {index}"),)
        sink.write(None, replace(RESULT, label="dog", at_ns=index + 1, events=left if index < 30 else ()))
    sink.close()
    wait_for(lambda: listener.last("home/door/availability") == "offline")
    assert len(listener.payloads("home/door/event")) == 30
    assert json.loads(listener.last("home/door/result") or "")["label"] == "dog"
    assert sink.figures().dropped == 0 or len(listener.payloads("home/door/result")) < 31
    wait_for(lambda: sink.figures().delivered == len(listener.heard))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mqtt://broker", "want mqtt://HOST/TOPIC"),
        ("mqtt://broker/home/%2B/door", "without"),
        ("mqtt://broker/home/%23", "without"),
        ("mqtt://broker/%24SYS/x", "without"),
        ("mqtt://broker/home//door", "without"),
        ("mqtt://broker/home?every=soon", "3s"),
        ("mqtt://broker/home?discovery=a%2B", "without"),
        ("mqtts://broker/home?ca=/no/such/file", "certificates"),
        ("mqtt://me@broker/home?password-file=/no/such/file", "cannot be read"),
    ],
)
def test_a_broker_or_topic_that_cannot_be_is_refused(uri: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        open_sink(uri, Surroundings(source=CAMERA))
