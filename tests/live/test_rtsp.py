"""RTSP cameras, against a real server: whole pictures, no lag, and back again after every kind of loss."""

import select
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from camera_server import read

from edgex_runtime.capture import Capture
from edgex_runtime.clock import SystemClock
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source

pytest.importorskip("av", reason="pip install 'edgex[stream]'")

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
    # A parser that waits for the next picture's beginning adds 33 ms to each, the quickest too: others' work to some.
    assert min(ages) < 30


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
