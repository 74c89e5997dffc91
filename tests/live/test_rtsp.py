"""RTSP cameras, against a real server: whole pictures, no lag, and back again after every kind of loss."""

import itertools
import select
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from camera_server import read
from hypothesis import given, settings
from hypothesis import strategies as st

from edgex_runtime.capture import Capture
from edgex_runtime.clock import SystemClock
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.freshness import State
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.rtp import START, Assembler, Picture
from edgex_runtime.sources.rtsp_auth import authorization
from edgex_runtime.sources.sdp import find_video
from edgex_runtime.sources.source import Frame, Source

pytest.importorskip("av", reason="pip install 'edgex[stream]'")

from edgex_runtime.sources.rtsp import WAITING_MAX, make_room

SERVER = Path(__file__).parent / "servers" / "rtsp_server.py"
DEBIANS_PYTHON = "/usr/bin/python3"
TIMEOUT_S = 30.0


@dataclass
class Server:
    """A running server process."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/camera"


@pytest.fixture(scope="session")
def can_serve() -> None:
    wants = "gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    python = shutil.which(DEBIANS_PYTHON)
    if python is None or subprocess.run([python, "-c", f"import gi; {wants}"], capture_output=True).returncode:
        pytest.skip(
            "wants a real RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-rtsp "
            "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
        )


@pytest.fixture
def serve(can_serve: None) -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:

        def start(*arguments: str) -> Server:
            process = stack.enter_context(
                subprocess.Popen([DEBIANS_PYTHON, SERVER, *arguments], stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            return Server(process=process, port=int(process.stdout.readline()))

        yield start


def numbers(source: Source, count: int) -> list[int | None]:
    frames = [source.read() for _ in range(count)]
    assert all(isinstance(frame, Frame) for frame in frames)
    return [read(frame.image) for frame in frames if isinstance(frame, Frame)]


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_cameras_pictures_come_whole_in_order_and_at_once(serve: Callable[..., Server], codec: str) -> None:
    server = serve("--codec", codec, "--show", "time", "--bits", "32", "--size", "640x96")
    source = open_source(server.url)
    assert source.info.live
    assert source.info.fps == 30
    ages = []
    for _ in range(30):
        frame = source.read()
        assert isinstance(frame, Frame)
        drawn_ms = _read_time(frame)
        assert frame.captured_ns / 1e6 >= drawn_ms
        ages.append(time.monotonic_ns() / 1e6 - drawn_ms)
    source.close()
    # A parser that waits for the next picture's beginning would add 33 ms to each.
    assert sorted(ages)[len(ages) // 2] < 30


def _read_time(frame: Frame) -> float:
    bar = frame.image.shape[1] // 32
    upper = frame.image[:40].mean(axis=(0, 2))
    return float(sum(1 << bit for bit in range(32) if upper[bar * bit + bar // 2] > 127))


def test_a_reader_who_comes_late_gets_the_newest_picture(serve: Callable[..., Server]) -> None:
    source = open_source(serve().url)
    (first,) = numbers(source, 1)
    time.sleep(1.2)
    frame = source.read()
    assert isinstance(frame, Frame)
    assert frame.index >= 30
    assert first is not None
    assert read(frame.image) == first + frame.index - 1 or (read(frame.image) or 0) >= 30
    assert time.monotonic_ns() - frame.captured_ns < 300e6
    source.close()


def test_a_camera_with_a_log_in_lets_in_who_knows_it(serve: Callable[..., Server]) -> None:
    server = serve("--login", "admin:p@s/s:w?")
    place = server.url.removeprefix("rtsp://")
    source = open_source(f"rtsp://admin:p%40s%2Fs%3Aw%3F@{place}")
    assert source.info.name == f"rtsp://***@{place}"
    assert None not in numbers(source, 3)
    source.close()
    for user in ("admin:s3cret@", ""):
        with pytest.raises(BadInputError, match="401 to DESCRIBE: check user and password") as refused:
            open_source(f"rtsp://{user}{place}")
        assert "s3cret" not in str(refused.value)


def test_what_cannot_be_played_is_told_in_words(serve: Callable[..., Server]) -> None:
    server = serve("--codec", "jpeg")
    with pytest.raises(BadInputError, match=r"want H\.264 or H\.265 video, found JPEG"):
        open_source(server.url)
    with pytest.raises(BadInputError, match=r"404.*check the address"):
        open_source(f"{server.url}/not/here")


def test_a_camera_that_is_killed_stalled_and_changed_comes_back_each_time(serve: Callable[..., Server]) -> None:
    server = serve()
    reopen = partial(open_source, f"{server.url}#timeout=600ms")
    states = set()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with Capture(reopen(), clock=SystemClock(), reopen=reopen, reconnect_s=TIMEOUT_S) as capture:

        def wait_for_size(size: tuple[int, int]) -> None:
            deadline = time.monotonic() + TIMEOUT_S
            while time.monotonic() < deadline:
                item = capture.take(timeout_s=0.1)
                states.add(capture.state())
                if isinstance(item, Frame):
                    assert read(item.image) is not None
                    if item.image.shape[:2] == size:
                        return
            pytest.fail("it did not come back")

        wait_for_size((96, 256))
        server.process.send_signal(signal.SIGSTOP)
        while capture.state() is not State.RECONNECTING:
            capture.take(timeout_s=0.05)
        server.process.send_signal(signal.SIGCONT)
        wait_for_size((96, 256))
        server.process.kill()
        server.process.wait()
        serve("--port", str(server.port), "--size", "320x128")
        wait_for_size((128, 320))
        assert capture.reconnects == 2
    assert State.RECONNECTING in states
    # The second server's output is one.
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors + 1


@contextmanager
def encrypted(port: int, certificate: Path) -> Iterator[int]:
    """A TLS port in front of a plain one, for one connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def relay() -> None:
        with (
            suppress(OSError),
            context.wrap_socket(listener.accept()[0], server_side=True) as client,
            socket.create_connection(("127.0.0.1", port)) as camera,
        ):
            others = {client: camera, camera: client}
            while ready := select.select(others, [], [], TIMEOUT_S)[0]:
                data = ready[0].recv(1 << 16)
                if not data:
                    return
                others[ready[0]].sendall(data)

    thread = threading.Thread(target=relay)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()
    thread.join(TIMEOUT_S)


def test_an_encrypted_camera_is_verified_unless_told_otherwise(serve: Callable[..., Server], certificate: Path) -> None:
    server = serve()
    with encrypted(server.port, certificate) as port, pytest.raises(BadInputError, match="cannot be verified"):
        open_source(f"rtsps://127.0.0.1:{port}/camera")
    for option in ("verify=no", f"ca={certificate.with_suffix('.crt')}"):
        with encrypted(server.port, certificate) as port:
            source = open_source(f"rtsps://127.0.0.1:{port}/camera#{option}")
            assert None not in numbers(source, 5)
            source.close()


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


def packet(sequence: int, stamp: int, payload: bytes, *, marker: bool = False) -> bytes:
    head = bytes([0x80, 96 | marker << 7]) + (sequence & 0xFFFF).to_bytes(2, "big") + stamp.to_bytes(4, "big")
    return head + b"\0\0\0\1" + payload


def fragments(unit: bytes, size: int, *, hevc: bool) -> list[bytes]:
    """One NAL unit as RTP payloads of at most `size` bytes."""
    header = 2 if hevc else 1
    kind = (unit[0] >> 1) & 0x3F if hevc else unit[0] & 0x1F
    lead = bytes([(unit[0] & 0x81) | 49 << 1, unit[1]]) if hevc else bytes([(unit[0] & 0xE0) | 28])
    chunks = [unit[at : at + size] for at in range(header, len(unit), size)]
    flags = [0x80 * (at == 0) | 0x40 * (at == len(chunks) - 1) for at in range(len(chunks))]
    return [lead + bytes([flag | kind]) + chunk for flag, chunk in zip(flags, chunks, strict=True)]


def stream(pictures: list[bool], *, hevc: bool, size: int = 7) -> tuple[list[bytes], list[bytes]]:
    """Packets of pictures that are key or not, each of three fragments, and the pictures' data."""
    packets, data = [], []
    for number, key in enumerate(pictures):
        kind = (19 if key else 1) if hevc else (5 if key else 1)
        unit = (bytes([kind << 1, 1]) if hevc else bytes([0x60 | kind])) + bytes([number] * 3 * size)
        parts = fragments(unit, size, hevc=hevc)
        for at, payload in enumerate(parts):
            # Across the wrap of the 16-bit counter.
            packets.append(packet(65530 + len(packets), number * 3000, payload, marker=at == len(parts) - 1))
        data.append(START + unit)
    return packets, data


@pytest.mark.parametrize("hevc", [False, True])
def test_pictures_are_put_together_again(hevc: bool) -> None:
    packets, data = stream([True, False, False, True], hevc=hevc)
    assembler = Assembler("H265" if hevc else "H264", 96)
    found = list(itertools.chain.from_iterable(assembler.feed(item, at) for at, item in enumerate(packets)))
    assert [picture.data for picture in found] == data
    assert [picture.key for picture in found] == [True, False, False, True]
    assert [picture.arrived_ns for picture in found] == [0, 3, 6, 9]
    assert [picture.index for picture in found] == [0, 1, 2, 3]


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 35), min_size=1, max_size=6), st.booleans())
def test_after_any_loss_nothing_comes_until_a_picture_that_needs_no_other(lost: set[int], hevc: bool) -> None:
    keys = [True, False, False, False] * 3
    packets, data = stream(keys, hevc=hevc)
    assembler = Assembler("H265" if hevc else "H264", 96)
    found = [picture.data for at, item in enumerate(packets) if at not in lost for picture in assembler.feed(item, 0)]
    expected, intact = [], False
    for number, key in enumerate(keys):
        whole = not lost & {3 * number, 3 * number + 1, 3 * number + 2}
        intact = whole and (intact or key)
        if intact:
            expected.append(data[number])
    assert found == expected


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=20), st.sampled_from(["H264", "H265"]))
def test_garbage_never_breaks_the_assembler(packets: list[bytes], codec: str) -> None:
    assembler = Assembler(codec, 96)
    for item in packets:
        assembler.feed(item, 0)
        assembler.feed(b"\x80\xe0" + item, 0)


def test_a_decoder_that_is_too_slow_skips_to_a_key_picture_and_memory_is_bounded() -> None:
    waiting: deque[Picture] = deque()
    for index in range(3 * WAITING_MAX):
        make_room(waiting)
        waiting.append(Picture(data=b"", key=index == 5, arrived_ns=0, index=index))
        assert len(waiting) <= WAITING_MAX
        assert index != 8 or [picture.index for picture in waiting] == [5, 6, 7, 8]


SDP = (
    "v=0\r\ns=x\r\na=control:*\r\nm=audio 0 RTP/AVP 0\r\na=control:track0\r\nm=video 0 RTP/AVP 97\r\n"
    "a=rtpmap:97 {codec}/90000\r\na=fmtp:97 packetization-mode=1;sprop-parameter-sets=Z0IAH5Y=,aM48gA==,***\r\n"
    "a=framerate:12.5\r\na=control:{control}\r\n"
)


@pytest.mark.parametrize(
    ("control", "address"),
    [
        ("track1", "rtsp://camera/live?x=1/track1"),
        ("rtsp://10.0.0.1/live/track1", "rtsp://10.0.0.1/live/track1"),
        ("*", "rtsp://camera/live?x=1"),
    ],
)
def test_a_description_gives_the_video_and_how_to_ask_for_it(control: str, address: str) -> None:
    track = find_video(SDP.format(codec="H264", control=control), "rtsp://camera/live?x=1")
    assert (track.codec, track.payload_type, track.control, track.fps) == ("H264", 97, address, 12.5)
    assert [unit[0] & 0x1F for unit in track.parameter_sets] == [7, 8]
    with pytest.raises(ValueError, match="found audio, VP8"):
        find_video(SDP.format(codec="VP8", control=control), "rtsp://camera/")


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.from_regex(r"m=video [0-9] RTP/AVP [0-9]{1,4}\r\na=rtpmap:[0-9]{1,3} H26[45].*"))
def test_any_description_gives_a_video_or_is_refused(text: str) -> None:
    try:
        track = find_video(text, "rtsp://camera/")
    except ValueError:
        return
    assert track.codec in ("H264", "H265")


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
