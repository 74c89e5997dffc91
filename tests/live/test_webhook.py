"""Webhooks, posted to a real server that refuses, fails, redirects, hangs and comes back."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.sinks.queued import CLOSE_S, QueuedSink
from edgex_runtime.sinks.registry import Surroundings, open_queued, open_sink
from edgex_runtime.sinks.sink import Event, LiveResult
from edgex_runtime.sources.source import SourceInfo

CAMERA = SourceInfo(name="door", live=True, fps=30.0)
AROUND = Surroundings(source=CAMERA)
TIMEOUT_S = 15.0
RESULT = LiveResult(
    state=State.LIVE, name="door#1", at_ns=0, age_ms=30.0, dropped=0, index=1, label="cat", score=0.93, source="door"
)
APPEARED = (Event(kind="appeared", label="cat"),)


@dataclass
class Server:
    """Answers with what it is told to, 204 when it is told nothing, and remembers what it got."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    hangs: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    http: ThreadingHTTPServer | None = None

    def start(self, context: ssl.SSLContext | None = None) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.got.append((self.path, dict(self.headers), body))
                while server.hangs.is_set():
                    time.sleep(0.01)
                status, headers = server.answers.pop(0) if server.answers else (204, {})
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.http.server_port
        if context is not None:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def stop(self) -> None:
        if self.http is not None:
            self.http.shutdown()
            self.http.server_close()
            self.http = None

    def labels(self) -> list[str]:
        return [json.loads(body)["label"] for _, _, body in list(self.got)]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.hangs.clear()
    server.stop()


def wait_for(condition: Callable[[], object]) -> None:
    late = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < late, "did not happen"
        time.sleep(0.01)


def open_it(server: Server, rest: str = "/hook", scheme: str = "webhook+http", user: str = "") -> QueuedSink:
    return open_queued(f"{scheme}://{user}127.0.0.1:{server.port}{rest}", AROUND)


def write_labels(sink: QueuedSink, labels: str, *, step_ms: int) -> None:
    for index, label in enumerate(labels):
        sink.write(None, replace(RESULT, index=index, label=label, at_ns=index * step_ms * 1_000_000))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ["a", "b", "a"]),
        ("#every=0s", ["a", "b", "a"]),
        ("#every=5s", ["a"]),
        ("#on=results", ["a", "a", "b", "b", "a"]),
        ("#on=results&every=2s", ["a", "b", "a"]),
        ("#on=events", ["a"]),
    ],
)
def test_what_is_worth_a_request_is_the_users_choice(server: Server, options: str, expected: list[str]) -> None:
    sink = open_it(server, f"/hook?key=its%20own{options}")
    write_labels(sink, "aabba", step_ms=1000)
    sink.close()
    assert server.labels() == expected
    assert {path for path, _, _ in server.got} == {"/hook?key=its%20own"}
    assert sink.figures().delivered == len(expected)


def test_events_and_states_are_posted_as_the_json_lines_say_them(server: Server) -> None:
    sink = open_it(server, "/hook#on=events")
    sink.write(None, RESULT)
    sink.write(None, replace(RESULT, events=APPEARED))
    sink.write(None, replace(RESULT, index=None, label=None, state=State.LOST, error="gone"))
    sink.close()
    first, second, third = [json.loads(body) for _, _, body in server.got]
    assert (first["schema"], first["kind"], first["state"]) == (1, "frame", "LIVE")
    assert second["events"] == [{"kind": "appeared", "label": "cat"}]
    assert (third["kind"], third["state"], third["error"]) == ("state", "LOST", "gone")
    assert all(headers["Content-Type"] == "application/json" for _, headers, _ in server.got)


def test_a_server_that_fails_is_tried_again_with_the_same_delivery(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [(503, {"Retry-After": "1"}), (500, {})]
    sink = open_it(server)
    sink.write(None, RESULT)
    start = time.perf_counter()
    wait_for(lambda: len(server.got) == 3)
    assert time.perf_counter() - start > 1
    sink.close()
    assert len({headers["X-Edgex-Delivery"] for _, headers, _ in server.got}) == 1
    assert sink.figures().dropped == 0
    assert caplog.text.count("takes no result") == 1
    assert caplog.text.count("takes results again") == 1


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_is_refused_is_counted_and_said_once(
    server: Server, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    server.answers = [(status, {})] * 3
    sink = open_it(server, "/hook#on=results")
    write_labels(sink, "abc", step_ms=1000)
    sink.close()
    assert len(server.got) == 3
    assert (sink.figures().dropped, sink.figures().delivered) == (3, 0)
    assert caplog.text.count("takes no result") == 1
    assert f"answers {status}" in caplog.text


def test_redirects_are_not_followed(server: Server) -> None:
    server.answers = [(307, {"Location": f"http://127.0.0.1:{server.port}/elsewhere"})]
    sink = open_it(server, user="me:sesame@")
    sink.write(None, RESULT)
    sink.close()
    assert [path for path, _, _ in server.got] == ["/hook"]
    assert sink.figures().dropped == 1


def test_a_server_that_comes_back_gets_the_events_that_it_missed(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    sink = open_it(server, "/hook#on=events")
    sink.write(None, RESULT)
    wait_for(lambda: len(server.got) == 1)
    server.stop()
    for index in range(3):
        sink.write(None, replace(RESULT, label=f"{index}", events=APPEARED))
    wait_for(lambda: "takes no result" in caplog.text)
    server.start()
    wait_for(lambda: len(server.got) == 4)
    sink.close()
    assert server.labels() == ["cat", "0", "1", "2"]


@pytest.mark.parametrize("dead", ["refuses", "hangs", "fails"])
def test_a_dead_server_holds_up_neither_the_loop_nor_its_end(server: Server, dead: str) -> None:
    if dead == "refuses":
        server.stop()
    elif dead == "hangs":
        server.hangs.set()
    else:
        server.answers = [(500, {})] * 1000
    sink = open_it(server, "/hook#on=results&timeout=20s")
    start = time.perf_counter()
    write_labels(sink, "ab" * 500, step_ms=1000)
    assert time.perf_counter() - start < 0.5
    start = time.perf_counter()
    sink.close()
    assert time.perf_counter() - start < CLOSE_S + 0.3
    assert sink.figures().dropped >= 990
    server.hangs.clear()
    for thread in threading.enumerate():
        if thread.name.startswith("edgex-sink"):
            thread.join(TIMEOUT_S)


def test_the_body_is_signed_with_the_secret_and_the_sender_known_by_its_token(server: Server, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    (tmp_path / "token").write_text("abc\n")
    sink = open_it(server, f"/hook#secret-file={tmp_path}/secret&bearer-file={tmp_path}/token")
    sink.write(None, RESULT)
    sink.close()
    _, headers, body = server.got[0]
    assert headers["X-Edgex-Signature"] == "sha256=" + hmac.new(b"sesame", body, hashlib.sha256).hexdigest()
    assert headers["Authorization"] == "Bearer abc"


def test_a_password_in_the_uri_is_sent_and_never_shown(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.answers = [(401, {})]
    sink = open_it(server, "/T0/sesame?k=sesame", user="me:s%C3%A9same@")
    sink.write(None, RESULT)
    sink.close()
    expected = base64.b64encode("me:sésame".encode()).decode()
    assert server.got[0][1]["Authorization"] == f"Basic {expected}"
    assert "sesame" not in caplog.text + sink.name
    assert f"webhook+http://127.0.0.1:{server.port}/…" in caplog.text


def test_tls_holds_the_server_to_its_certificate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*make.split(), *names], check=True, capture_output=True, cwd=tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = Server()
    server.start(context)
    distrusting = open_it(server, scheme="webhook+https")
    distrusting.write(None, RESULT)
    wait_for(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
    distrusting.close()
    assert server.got == []
    sink = open_it(server, f"/hook#ca={tmp_path}/cert.pem", scheme="webhook+https")
    sink.write(None, RESULT)
    sink.close()
    server.stop()
    assert server.labels() == ["cat"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("webhook+https://", "no host"),
        ("webhook+https://host/a b", "%20"),
        ("webhook+https://host/hook#on=motion", "events, changes, results"),
        ("webhook+https://host/hook#evry=1s", "did you mean 'every'"),
        ("webhook+https://host/hook#secret-file=/no/such", "cannot be read"),
        ("webhook+https://host/hook#ca=/no/such", "certificates"),
        ("webhook://host/hook", "webhook\\+http"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(uri: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        open_sink(uri, AROUND)


def test_an_answer_without_end_is_not_waited_for() -> None:
    """A server that sends a byte now and then would keep a careless client for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sink = open_queued(f"webhook+http://127.0.0.1:{listener.getsockname()[1]}/#timeout=300ms", AROUND)
        sink.write(None, RESULT)
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            start = time.perf_counter()
            sink.close()
            assert time.perf_counter() - start < CLOSE_S + 0.3
    for thread in threading.enumerate():
        if thread.name.startswith("edgex-sink"):
            thread.join(TIMEOUT_S)
