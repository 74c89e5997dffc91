"""Who may see the console: each rule asked over a real socket, as a stranger would ask."""

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from edgex_runtime.console.guard import RateLimit
from edgex_runtime.console.options import parse_console_uri
from edgex_runtime.errors import BadInputError

TOKEN = "sesame-open-1234567"


def get(console: Any, path: str, *, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """One request; the answer's body is in ``.text``."""
    if console.tls is None:
        connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=10)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", console.port, timeout=10, context=console.tls)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.text = answer.read().decode()  # type: ignore[attr-defined]
    connection.close()
    return answer


def close_code(connection: ClientConnection) -> int | None:
    """Read until the server closes, and say how."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            connection.recv(timeout=5)
    return connection.close_code


@pytest.fixture
def guarded(open_console: Callable[..., Any]) -> Any:
    """A console for others than this machine, with a token."""
    return open_console(f"?token={TOKEN}", address="http://0.0.0.0:0")


def test_the_page_comes_with_everything_it_loads_and_strict_headers(console: Any) -> None:
    page = get(console, "/")
    assert page.status == 200
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert "*" not in policy
    for header, value in {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }.items():
        assert page.headers[header] == value
    for file, kind in {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}.items():
        assert file in page.text
        got = get(console, f"/{file}")
        assert (got.status, got.headers["Content-Type"].split(";")[0]) == (200, kind)
        assert got.headers["Content-Security-Policy"] == policy


@pytest.mark.parametrize(
    "path",
    ["/page/", "/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/console.html", "/__init__.py", "//[", "/a?%"],
)
def test_there_is_nothing_else_and_no_listing(console: Any, path: str) -> None:
    assert get(console, path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_but_get_is_answered(console: Any, method: str) -> None:
    assert get(console, "/", method=method).status == 405


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:8080", "[::1]:80", "127.9.9.9"])
def test_the_machines_own_names_are_answered(console: Any, host: str) -> None:
    assert get(console, "/", Host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.9:80", "[::", "", "localhost."])
def test_a_rebound_name_is_refused(console: Any, host: str) -> None:
    assert get(console, "/", Host=host).status == 421
    with pytest.raises(InvalidStatus) as refused:
        console.connect(origin=f"http://{host}", additional_headers={"Host": host})
    assert refused.value.response.status_code in (400, 421)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None, "file://", "http://127.0.0.1:1", "http://"])
def test_another_sites_page_cannot_open_a_socket(console: Any, origin: str | None) -> None:
    for path in ("/live", "/camera?box=browser"):
        with pytest.raises(InvalidStatus) as refused:
            console.connect(path, origin=origin)
        assert refused.value.response.status_code == 403


def test_on_loopback_nothing_is_asked_for(console: Any) -> None:
    assert f"console: http://127.0.0.1:{console.port}/\n" == console.said
    assert '"kind": "hello"' in console.connect().recv(timeout=5)


def test_elsewhere_a_token_is_made_up_and_printed_once(open_console: Callable[..., Any]) -> None:
    console = open_console(address="http://0.0.0.0:0")
    token = console.said.split("?token=")[1].split("\n")[0]
    assert len(token) >= 32
    assert console.said.count(token) == 1
    assert "no TLS: whoever is on the way can read" in console.said
    assert get(console, "/").status == 401
    assert get(console, f"/?token={token}").status == 303


def test_a_given_token_is_not_printed(guarded: Any) -> None:
    assert TOKEN not in guarded.said


def test_without_the_token_there_is_a_question_and_no_socket(guarded: Any) -> None:
    page = get(guarded, "/")
    assert page.status == 401
    assert 'name="token"' in page.text
    with pytest.raises(InvalidStatus) as refused:
        guarded.connect()
    assert refused.value.response.status_code == 401


def test_the_token_becomes_a_cookie_that_scripts_cannot_read(guarded: Any) -> None:
    answer = get(guarded, f"/?token={TOKEN}")
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    pair = cookie.split(";")[0]
    assert get(guarded, "/", Cookie=pair).status == 200
    assert guarded.connect(additional_headers={"Cookie": pair}).recv(timeout=5)


@pytest.mark.parametrize("wrong", ["x", TOKEN + "x", TOKEN[:-1], "%C3%BC", "x&token=y"])
def test_a_wrong_token_waits_and_gets_nothing(guarded: Any, wrong: str) -> None:
    began = time.monotonic()
    answer = get(guarded, f"/?token={wrong}")
    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers
    assert time.monotonic() - began > 0.9, "guesses take their time"


@pytest.mark.parametrize("wrong", ["x", TOKEN + "x", TOKEN[:-1], '"', "\xfc", ""])
def test_a_wrong_cookie_gets_nothing(guarded: Any, wrong: str) -> None:
    name = get(guarded, f"/?token={TOKEN}").headers["Set-Cookie"].split("=")[0]
    assert get(guarded, "/", Cookie=f"{name}={wrong}").status == 401


def test_garbage_is_no_news(console: Any, caplog: pytest.LogCaptureFixture) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"x" * 20_000, b""):
        with socket.create_connection(("127.0.0.1", console.port), timeout=5) as stranger:
            stranger.sendall(garbage)
            stranger.shutdown(socket.SHUT_WR)
            stranger.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert not stranger.recv(4096).startswith(b"HTTP/1.1 200")
    assert get(console, "/").status == 200
    assert caplog.records == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("x", 1008),
        ("[" * 4000, 1008),
        ('{"do": "format-disk"}', 1008),
        ('{"do": "pause", "extra": 1}', 1008),
        ('{"do": "seen", "number": "1"}', 1008),
        (b'{"do": "pause"}', 1008),
        (f'{{"do": "save", "label": "{"x" * 5000}"}}', 1009),
        ("x" * 3_000_000, 1009),
    ],
    ids=["no JSON", "deep", "unknown", "extra", "type", "binary", "long", "huge"],
)
def test_a_viewer_that_breaks_the_rules_is_gone(console: Any, message: str | bytes, code: int) -> None:
    viewer = console.connect()
    viewer.send(message)
    assert close_code(viewer) == code
    assert not console.control.is_paused
    assert get(console, "/").status == 200


def test_a_viewer_that_floods_is_gone(console: Any) -> None:
    viewer = console.connect()
    with contextlib.suppress(ConnectionClosed):
        for _ in range(2000):
            viewer.send('{"do": "resume"}')
    assert close_code(viewer) == 1008


def test_viewers_have_a_number(console: Any) -> None:
    for _ in range(32):
        console.connect().recv(timeout=5)
    with pytest.raises(InvalidStatus) as refused:
        console.connect()
    assert refused.value.response.status_code == 503


def test_a_rate_limit_gives_its_burst_and_then_its_rate() -> None:
    limit = RateLimit(per_second=0.001, burst=3)
    assert [limit.allows() for _ in range(5)] == [True, True, True, False, False]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=board", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def test_with_a_certificate_it_speaks_tls_and_its_cookie_stays_there(
    open_console: Callable[..., Any], certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    console = open_console(f"?cert={cert}&key={key}&token={TOKEN}", address="https://0.0.0.0:0")
    console.tls = ssl.create_default_context(cafile=str(cert))
    assert "no TLS" not in console.said
    cookie = get(console, f"/?token={TOKEN}").headers["Set-Cookie"]
    assert "; Secure" in cookie
    assert console.connect(additional_headers={"Cookie": cookie.split(";")[0]}).recv(timeout=5)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://127.0.0.1:99999", "want an address such as"),
        ("http://", "want an address of this machine"),
        ("http://127.0.0.1:0/page", "want an address of this machine"),
        ("http://user:pass@127.0.0.1", "want an address of this machine"),
        ("http://127.0.0.1?colect=x", "did you mean 'collect'"),
        ("http://127.0.0.1?collect=/no/such", "want a folder that is there"),
        ("http://127.0.0.1?format=gif", "want png"),
        ("https://127.0.0.1", "https wants .*openssl req"),
        ("https://127.0.0.1?cert=/no/such.pem", "want a file that is there"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(uri: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        parse_console_uri(uri)


def test_no_message_repeats_a_token(tmp_path: Path) -> None:
    for uri in (
        "http://0.0.0.0?token=short-secret",
        f"http://0.0.0.0?token={TOKEN}&colect=x",
        f"https://h?token={TOKEN}",
    ):
        with pytest.raises(BadInputError) as refused:
            parse_console_uri(uri)
        assert "short-secret" not in str(refused.value)
        assert TOKEN not in str(refused.value)
        assert "token=***" in str(refused.value)


def test_a_certificate_that_is_none_is_refused(open_console: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    with pytest.raises(BadInputError, match="want a certificate and its private key"):
        open_console(f"?cert={tmp_path / 'cert.pem'}", address="https://127.0.0.1:0")


def test_a_port_that_is_taken_is_told(console: Any, open_console: Callable[..., Any]) -> None:
    with pytest.raises(BadInputError, match=f"listens there: take another port, such as {console.port + 1}"):
        open_console(address=f"http://127.0.0.1:{console.port}")
    with pytest.raises(BadInputError, match="no address of this machine"):
        open_console(address="http://203.0.113.7:0")
