"""RTSP (RFC 2326) over one TCP or TLS connection, the pictures interleaved: nothing is lost on the way.

Over UDP a lost packet is half a picture, and firewalls keep it out; every camera can send by TCP.
"""

import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edgex_runtime.errors import BadInputError, EdgexError, SourceLostError
from edgex_runtime.sources.camera_url import CameraUrl
from edgex_runtime.sources.network import Cord
from edgex_runtime.sources.rtsp_auth import authorization
from edgex_runtime.sources.sdp import VideoTrack, find_video

PORTS = {"rtsp": 554, "rtsps": 322}
MAX_LINE_BYTES = 8192
MAX_HEADERS = 64
MAX_BODY_BYTES = 1 << 20
KEEP_ALIVE_S = 25.0
"""Where the camera does not say how long a session lives: RFC 2326 has 60 s."""
KEEP_ALIVE_AGAIN_S = 1.0
INTERLEAVED = 0x24  # "$"


class RtspError(ValueError):
    """An answer that is not RTSP."""


FAILURES = (OSError, ValueError)
"""What a session may raise besides errors of ours: the network's, and answers that are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; header names in lower case, each with all its values."""

    code: int
    headers: dict[str, list[str]] = field(default_factory=dict)
    body: str = ""

    def header(self, name: str, default: str = "") -> str:
        """The first value of a header."""
        return self.headers.get(name, [default])[0]


class RtspSession:
    """One connection: `play` begins the stream, `packets` gives it, `cord` ends both from another thread."""

    def __init__(self, url: CameraUrl, *, timeout_s: float, context: ssl.SSLContext | None) -> None:
        """Store; `context` for rtsps."""
        self._url = url
        self._timeout_s = timeout_s
        self._context = context
        self.cord = Cord()
        self._socket: socket.socket | None = None
        self._sequence = 0
        self._session: str | None = None
        self._keep_alive_s = KEEP_ALIVE_S
        self._challenges: list[str] = []

    def play(self) -> VideoTrack:
        """Connect, log in, choose the video and start it.

        Raises:
            BadInputError: If the log-in or the stream cannot be used.
            SourceLostError: If the camera refuses for now.
            OSError, ValueError: If it does not answer, or not in RTSP.
        """
        self._connect()
        described = self._ask("DESCRIBE", self._url.address, {"Accept": "application/sdp"})
        base = described.header("content-base") or described.header("content-location") or self._url.address
        try:
            track = find_video(described.body, base)
        except ValueError as error:
            raise BadInputError(f"{self._url.name}: {error}") from error
        transport = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
        ready = self._ask("SETUP", track.control, transport)
        self._note_session(ready)
        self._ask("PLAY", base, {"Range": "npt=0.000-"})
        return track

    def packets(self) -> Iterator[bytes]:
        """The video's RTP packets until the camera ends the connection."""
        due = time.monotonic() + self._keep_alive_s
        while (first := self._file.read(1)) != b"":
            if first[0] == INTERLEAVED:
                channel, data = self._read_interleaved()
                if channel == self._channel:
                    yield data
            else:
                reply = self._read_reply(first)
                if reply is not None and reply.code == 401:
                    # The nonce has grown old; once more with the new one.
                    self._challenges = reply.headers.get("www-authenticate", [])
                    due = min(due, time.monotonic() + KEEP_ALIVE_AGAIN_S)
            if time.monotonic() >= due:
                due = time.monotonic() + self._keep_alive_s
                # OPTIONS keeps any camera's session; GET_PARAMETER does not. Its answer comes among the packets.
                self._send("OPTIONS", self._url.address, {})

    def close(self) -> None:
        """Let go of the connection; by the thread that reads it."""
        if self._socket is not None:
            self._file.close()
            self._socket.close()

    def _connect(self) -> None:
        parts = urlsplit(self._url.address)
        address = (parts.hostname or "", parts.port or PORTS[parts.scheme])
        self._socket = socket.create_connection(address, self._timeout_s)
        self._file = self._socket.makefile("rb")
        self.cord.keep(self._socket)
        if self._context is not None:
            plain = self._file
            self._socket = self._context.wrap_socket(self._socket, server_hostname=parts.hostname)
            plain.close()
            self._file = self._socket.makefile("rb")
            self.cord.keep(self._socket)

    def _ask(self, method: str, address: str, headers: dict[str, str]) -> Reply:
        reply = self._exchange(method, address, headers)
        if reply.code == 401 and self._url.credentials is not None:
            # Once, with what it asks for; also later, when its nonce has grown old.
            self._challenges = reply.headers.get("www-authenticate", [])
            reply = self._exchange(method, address, headers)
        if reply.code != 200:
            raise self._refusal(method, reply.code)
        return reply

    def _refusal(self, method: str, code: int) -> EdgexError:
        answer = f"{self._url.name}: want a stream, the camera answers {code} to {method}"
        if code in (401, 403):
            return BadInputError(f"{answer}: check user and password")
        if code in (400, 404, 451, 454, 455, 461):
            return BadInputError(f"{answer}: check the address; the stream's own stands in the camera's manual")
        return SourceLostError(answer)

    def _exchange(self, method: str, address: str, headers: dict[str, str]) -> Reply:
        sequence = self._send(method, address, headers)
        while True:
            first = self._file.read(1)
            if not first:
                raise ConnectionResetError("the camera closed the connection")
            if first[0] == INTERLEAVED:
                self._read_interleaved()
                continue
            reply = self._read_reply(first)
            if reply is not None and reply.header("cseq", str(sequence)) == str(sequence):
                return reply

    def _send(self, method: str, address: str, headers: dict[str, str]) -> int:
        self._sequence += 1
        lines = {"CSeq": str(self._sequence), "User-Agent": "edgex", **headers}
        if self._session is not None:
            lines["Session"] = self._session
        if self._challenges and self._url.credentials is not None:
            answer = authorization(self._challenges, self._url.credentials, method, address)
            if answer is not None:
                lines["Authorization"] = answer
        text = f"{method} {address} RTSP/1.0\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        if self._socket is not None:
            self._socket.sendall(f"{text}\r\n".encode())
        return self._sequence

    def _read_reply(self, first: bytes) -> Reply | None:
        """Read one message; None where it is the camera's own request, which needs no answer to go on."""
        status = first + self._file.readline(MAX_LINE_BYTES)
        headers: dict[str, list[str]] = {}
        for _ in range(MAX_HEADERS):
            line = self._file.readline(MAX_LINE_BYTES)
            if not line.endswith(b"\n"):
                raise RtspError("an answer breaks off")
            if not line.strip():
                break
            key, _, value = line.decode("utf-8", "replace").partition(":")
            headers.setdefault(key.strip().lower(), []).append(value.strip())
        else:
            raise RtspError(f"more than {MAX_HEADERS} headers")
        body = self._read_body(headers.get("content-length", ["0"])[0])
        code = re.match(rb"RTSP/1\.[0-9] ([0-9]{3})", status)
        if code is None:
            if status.rstrip().endswith(b"RTSP/1.0"):
                return None
            raise RtspError("want RTSP/1.0 and a code")
        return Reply(code=int(code[1]), headers=headers, body=body)

    def _read_body(self, length: str) -> str:
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > MAX_BODY_BYTES:
            raise RtspError(f"a body of {length} bytes")
        return self._file.read(int(length)).decode("utf-8", "replace")

    def _read_interleaved(self) -> tuple[int, bytes]:
        head = self._file.read(3)
        size = int.from_bytes(head[1:], "big")
        data = self._file.read(size)
        # Cut off: the next read finds the end.
        return (head[0], data) if len(head) == 3 and len(data) == size else (-1, b"")

    def _note_session(self, ready: Reply) -> None:
        session, _, rest = ready.header("session").partition(";")
        self._session = session.strip() or None
        seconds = re.search(r"timeout\s*=\s*([0-9]{1,5})", rest)
        self._keep_alive_s = max(int(seconds[1]) / 2, 1.0) if seconds else KEEP_ALIVE_S
        channel = re.search(r"interleaved\s*=\s*([0-9]{1,3})", ready.header("transport"))
        self._channel = int(channel[1]) if channel else 0
