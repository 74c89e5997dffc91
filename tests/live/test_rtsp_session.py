"""The dialogue with an RTSP camera: log-in, a session kept alive, answers that are none, a reader that is slow."""

import itertools
import socket
import threading
import time
from collections import deque
from contextlib import suppress

import pytest
from rtp_packets import SDP, packet

from edgex_runtime.errors import SourceLostError
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.rtp import Picture
from edgex_runtime.sources.rtsp_auth import authorization
from edgex_runtime.sources.source import Frame

pytest.importorskip("av", reason="pip install 'edgex[stream]'")

from edgex_runtime.sources.rtsp import WAITING_MAX, make_room

TIMEOUT_S = 30.0


def test_what_answers_and_is_no_camera_is_lost_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        place = f"rtsp://127.0.0.1:{mute.getsockname()[1]}/x#timeout=300ms"
        with pytest.raises(SourceLostError, match=r"no answer within 0\.3 s"):
            open_source(place)
    with pytest.raises(SourceLostError, match=r"refused.*is the camera on"):
        open_source(place)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.0 200 OK\r\n\r\n", b"\0" * 9000, b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"$\0"]
)
def test_an_answer_that_is_no_rtsp_is_told_so(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(SourceLostError):
            open_source(f"rtsp://127.0.0.1:{server.getsockname()[1]}/x#timeout=1s")
        thread.join()


def test_a_session_is_kept_alive_on_the_cameras_own_channel_also_when_its_nonce_grows_old() -> None:
    requests: list[str] = []

    def answer(request: str) -> bytes:
        requests.append(request)
        method, number = request.split()[0], request.partition("CSeq: ")[2].split()[0]
        stale = method == "OPTIONS" and 'nonce="2"' not in request
        if "Authorization" not in request or stale:
            nonce = 2 if stale else 1
            ask = f'WWW-Authenticate: Digest realm="x", nonce="{nonce}"'
            return f"RTSP/1.0 401 No\r\nCSeq: {number}\r\n{ask}\r\n\r\n".encode()
        body = SDP.format(codec="H264", control="track1").replace("97", "96") if method == "DESCRIBE" else ""
        extra = "Session: 7;timeout=2\r\nTransport: RTP/AVP/TCP;interleaved=4-5\r\n" if method == "SETUP" else ""
        return f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def play() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.settimeout(0.05)
            for turn in itertools.count():
                with suppress(TimeoutError):
                    request = connection.recv(8192)
                    if not request:
                        return
                    connection.sendall(answer(request.decode()))
                if requests and requests[-1].startswith(("PLAY", "OPTIONS")):
                    data = packet(turn, turn * 3000, b"\x65" + bytes(9), marker=True)
                    connection.sendall(b"$\x04" + len(data).to_bytes(2, "big") + data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=play)
        thread.start()
        source = open_source(f"rtsp://admin:pw@127.0.0.1:{server.getsockname()[1]}/camera")
        end = time.monotonic() + TIMEOUT_S
        while sum(request.startswith("OPTIONS") for request in requests) < 2 and time.monotonic() < end:
            # No decoder makes a picture of these.
            assert not isinstance(source.read(), Frame)
        source.close()
        thread.join()
    first, second = [request for request in requests if request.startswith("OPTIONS")][:2]
    assert 'nonce="1"' in first
    assert 'nonce="2"' in second
    assert "Session: 7\r\n" in second
    assert not any("pw" in request for request in requests)


def test_a_decoder_that_is_too_slow_skips_to_a_key_picture_and_memory_is_bounded() -> None:
    waiting: deque[Picture] = deque()
    for index in range(3 * WAITING_MAX):
        make_room(waiting)
        waiting.append(Picture(data=b"", key=index == 5, arrived_ns=0, index=index))
        assert len(waiting) <= WAITING_MAX
        assert index != 8 or [picture.index for picture in waiting] == [5, 6, 7, 8]


def test_a_log_in_is_answered_as_the_rfc_does() -> None:
    """RFC 2617, 3.5, without qop as RTSP servers ask; and RFC 7617, 2."""
    challenge = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc"'
    answer = authorization([challenge], ("Mufasa", "Circle Of Life"), "GET", "/dir/index.html")
    assert answer is not None
    assert 'response="670fd8c2df070c60b045671b8b24ff02"' in answer
    assert authorization(['Basic realm="x"'], ("Aladdin", "open sesame"), "PLAY", "*") == (
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    )
    assert authorization(["Negotiate"], ("a", "b"), "PLAY", "*") is None
