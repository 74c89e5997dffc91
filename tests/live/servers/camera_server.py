"""An HTTP camera for tests, on loopback: what it sends is what a test hands in, bytes and pauses alike."""

import base64
import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
from numpy.typing import NDArray

BOUNDARY = "frame"
BITS = 16


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the camera says to one request."""

    body: Callable[[], Iterator[bytes]]
    kind: str = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Camera:
    """A running camera, and what was asked of it."""

    url: str
    requests: list[str]


def draw(number: int, size: tuple[int, int] = (256, 96)) -> NDArray[np.uint8]:
    """`number` as sixteen black or white bars, once above and once, inverted, below; in colour it is red or cyan."""
    width, height = size
    bits = np.array([(number >> bit) & 1 for bit in range(BITS)], dtype=np.uint8)
    row = np.repeat(bits * 215 + 20, width // BITS)
    half = np.broadcast_to(row, (height // 2, row.size))
    grey = np.concatenate([half, 255 - half])
    return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))


def read(image: NDArray[np.uint8]) -> int | None:
    """The number that `draw` drew; None where the halves do not agree, as in a picture that is not whole."""
    height, width = image.shape[:2]
    bar = width // BITS
    middles = [bar * bit + bar // 2 for bit in range(BITS)]
    upper = [bool(image[: height // 2 - 8, x].mean() > 127) for x in middles]
    lower = [bool(image[-8:, x].mean() < 127) for x in middles]
    return sum(1 << bit for bit in range(BITS) if upper[bit]) if upper == lower else None


def jpeg(number: int, size: tuple[int, int] = (256, 96)) -> bytes:
    encoded: bytes = cv2.imencode(".jpg", draw(number, size))[1].tobytes()
    return encoded


def part(data: bytes, *, length: int | None = None, boundary: str = BOUNDARY) -> bytes:
    """One part; `length` writes a Content-Length."""
    announced = "" if length is None else f"Content-Length: {length}\r\n"
    return f"--{boundary}\r\nContent-Type: image/jpeg\r\n{announced}\r\n".encode() + data + b"\r\n"


def pictures(*numbers: int) -> Callable[[], Iterator[bytes]]:
    """A stream of whole pictures, which then ends."""

    def body() -> Iterator[bytes]:
        for number in numbers:
            data = jpeg(number)
            yield part(data, length=len(data))

    return body


@contextmanager
def serve(answer: Callable[[str], Answer], tls: ssl.SSLContext | None = None, *, port: int = 0) -> Iterator[Camera]:
    """Run a camera, by https where `tls` is given.

    `answer` is asked with each request's path and Authorization, such as ``/video Basic …``.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization', '')}".strip())
            reply = answer(asked[-1])
            self.send_response(reply.code)
            self.send_header("Content-Type", reply.kind)
            for key, value in reply.headers.items():
                self.send_header(key, value)
            self.end_headers()
            with suppress(OSError):
                for data in reply.body():
                    self.wfile.write(data)
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = False
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Camera(url=f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}", requests=asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def digest_response(user: str, password: str, authorization: str, *, realm: str, nonce: str) -> tuple[str, str]:
    """What a Digest log-in should say for these words, and what it says (RFC 2617, qop auth)."""
    said = dict(item.strip().replace('"', "").split("=", 1) for item in authorization[7:].split(","))
    md5 = lambda text: hashlib.md5(text.encode()).hexdigest()  # noqa: E731
    first, second = md5(f"{user}:{realm}:{password}"), md5(f"GET:{said['uri']}")
    return md5(f"{first}:{nonce}:{said['nc']}:{said['cnonce']}:{said['qop']}:{second}"), said["response"]
