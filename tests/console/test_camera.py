"""`browser://`: what a page with a camera sends, what becomes of it, and how its clock is read."""

import io
import json
import math
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from edgex_runtime.console.camera import HEADER, PeerClock, Stamps, read_stamps
from edgex_runtime.errors import BadInputError, ImageError
from edgex_runtime.sources import browser
from edgex_runtime.sources.browser import decode, jpeg_size
from edgex_runtime.sources.mailbox import mailbox
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source, Unreadable

PICTURE = np.full((24, 32, 3), (200, 80, 160), np.uint8)
PAGE_CLOCK_MS = 5_000_000.0
"""How much the page's clock is ahead of ours, in these tests."""


def jpeg(image: np.ndarray = PICTURE) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


class PageCamera:
    """Sends pictures as `page/camera.js` does."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.listen()

    def listen(self) -> dict[str, Any]:
        message = json.loads(self.socket.recv(timeout=5))
        self.told, self.heard = message["told"], self.now()
        return message

    def now(self) -> float:
        return time.monotonic_ns() / 1e6 + PAGE_CLOCK_MS

    def send(self, data: bytes, *, age_ms: float = 0.0) -> None:
        now = self.now()
        self.socket.send(HEADER.pack(now - age_ms, now, self.told, self.heard) + data)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    monkeypatch.setattr("edgex_runtime.sources.mailbox._mailboxes", {})
    with_source = open_source("browser://")
    yield with_source
    with_source.close()


@pytest.fixture
def camera(source: Source, open_console: Callable[..., Any]) -> PageCamera:
    console = open_console(sources=("browser",))
    return PageCamera(console.connect("/camera?box=browser"))


def test_a_browsers_picture_becomes_a_frame_of_the_age_that_it_has(source: Source, camera: PageCamera) -> None:
    captured_ms = time.monotonic_ns() / 1e6 - 100
    camera.send(jpeg(), age_ms=100)
    frame = source.read()
    assert isinstance(frame, Frame)
    assert np.abs(frame.image.astype(int) - PICTURE).max() < 6
    assert (frame.name, source.info.live) == ("browser#0", True)
    # The page's clock is read to half of a message there and back, and this test's own steps take time as well.
    there_and_back_ms = time.monotonic_ns() / 1e6 - camera.told
    assert abs(frame.captured_ns / 1e6 - captured_ms) <= there_and_back_ms


def test_the_next_picture_is_asked_for_when_the_last_was_taken(source: Source, camera: PageCamera) -> None:
    camera.send(jpeg())
    with pytest.raises(TimeoutError):
        camera.socket.recv(timeout=0.1)
    source.read()
    assert camera.listen()["kind"] == "taken"


def test_a_picture_that_nobody_takes_gives_way_to_a_newer_one(source: Source, camera: PageCamera) -> None:
    for grey in (10, 200):
        camera.send(jpeg(np.full((16, 16, 3), grey, np.uint8)))
        assert camera.listen()["kind"] == "taken", "after a quarter of a second"
    frame = source.read()
    assert isinstance(frame, Frame)
    assert (frame.index, round(frame.image.mean())) == (1, 200)


def test_the_newest_browser_takes_over_and_the_other_is_told(source: Source, open_console: Callable[..., Any]) -> None:
    console = open_console(sources=("browser",))
    first = PageCamera(console.connect("/camera?box=browser"))
    second = PageCamera(console.connect("/camera?box=browser"))
    with pytest.raises(ConnectionClosed):
        first.socket.recv(timeout=5)
    assert (first.socket.close_code, first.socket.close_reason) == (4001, "another browser's camera has taken over")
    second.send(jpeg())
    assert isinstance(source.read(), Frame)


def test_a_browser_may_come_and_go(source: Source, open_console: Callable[..., Any]) -> None:
    console = open_console(sources=("browser",))
    for _ in range(2):
        camera = PageCamera(console.connect("/camera?box=browser"))
        camera.send(jpeg())
        assert isinstance(source.read(), Frame)
        camera.socket.close()


def test_nobody_sending_is_no_error(
    source: Source, open_console: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "LOOK_S", 0.02)
    console = open_console(sources=("browser",))
    late = threading.Timer(0.3, lambda: PageCamera(console.connect("/camera?box=browser")).send(jpeg()))
    late.start()
    assert isinstance(source.read(), Frame)
    late.join()


def test_opening_it_again_goes_on_where_it_was(source: Source, camera: PageCamera) -> None:
    camera.send(jpeg())
    source.close()
    again = open_source("browser://")
    assert isinstance(again.read(), Frame)
    again.close()


def test_without_a_console_it_says_what_to_add(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "LOOK_S", 0.05)
    with pytest.raises(BadInputError, match=r"none runs: add --out http://127\.0\.0\.1:8080"):
        source.read()


@pytest.mark.parametrize("how", ["close", "interrupt"])
def test_a_waiting_read_ends_when_another_thread_says_so(source: Source, how: str) -> None:
    mailbox("browser").is_served = True
    saying = threading.Timer(0.1, getattr(source, how))
    saying.start()
    began = time.monotonic()
    assert source.read() is None
    assert time.monotonic() - began < 1
    assert source.read() is None
    saying.join()


@pytest.mark.parametrize(
    "data",
    [b"GIF89a", b"\xff\xd8", jpeg()[:300], b"\xff\xd8\xff\xe0\x00\x04\x00\x00" * 9, jpeg()[:-200]],
    ids=["no JPEG", "empty", "header only", "no frame", "half"],
)
def test_a_damaged_picture_is_reported_and_never_classified(source: Source, camera: PageCamera, data: bytes) -> None:
    camera.send(data)
    item = source.read()
    assert isinstance(item, Unreadable)
    assert item.error
    camera.listen()
    camera.send(jpeg())
    assert isinstance(source.read(), Frame), "and the next one is fine"


def test_a_picture_that_claims_to_be_enormous_costs_nothing() -> None:
    data = jpeg()
    at = data.index(b"\xff\xc0") + 5
    huge = data[:at] + struct.pack(">HH", 65_000, 65_000) + data[at + 4 :]
    assert jpeg_size(huge) == (65_000, 65_000)
    with pytest.raises(ImageError, match="want 4096 pixels a side at most, got 65000 x 65000"):
        decode(huge)


@given(st.binary(max_size=200))
def test_any_bytes_have_a_size_or_none(data: bytes) -> None:
    for text in (data, b"\xff\xd8\xff" + data, b"\xff\xd8\xff\xc0" + data):
        size = jpeg_size(text)
        assert size is None or all(0 <= side < 65_536 for side in size)


@pytest.mark.parametrize(
    "message",
    ["text", b"", b"x" * 32, HEADER.pack(math.nan, 0, 0, 0) + b"x", HEADER.pack(1e300, 0, 0, 0) + b"x"],
    ids=["text", "nothing", "no picture", "NaN", "far"],
)
def test_what_is_no_picture_ends_the_connection(camera: PageCamera, message: str | bytes) -> None:
    camera.socket.send(message)
    with pytest.raises(ConnectionClosed):
        camera.socket.recv(timeout=5)
    assert camera.socket.close_code == 1008


def test_a_camera_that_nobody_wants_is_refused(open_console: Callable[..., Any]) -> None:
    console = open_console()
    for path in ("/camera", "/camera?box=browser", "/camera?box=front+door"):
        with pytest.raises(InvalidStatus) as refused:
            console.connect(path)
        assert refused.value.response.status_code == 404


def test_two_browsers_have_two_names(monkeypatch: pytest.MonkeyPatch, open_console: Callable[..., Any]) -> None:
    monkeypatch.setattr("edgex_runtime.sources.mailbox._mailboxes", {})
    left, right = open_source("browser://left"), open_source("browser://right")
    console = open_console(sources=(left.info.name, right.info.name))
    assert json.loads(console.connect().recv(timeout=5))["cameras"] == ["browser:left", "browser:right"]
    PageCamera(console.connect("/camera?box=browser%3Aright")).send(jpeg())
    frame = right.read()
    assert isinstance(frame, Frame)
    assert frame.name == "browser:right#0"


@pytest.mark.parametrize("uri", ["browser://a/b", "browser://?x=1", "browser://ü", f"browser://{'a' * 33}"])
def test_a_name_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(BadInputError, match="want browser:// or browser://NAME"):
        open_source(uri)


@given(
    offset=st.floats(-1e9, 1e9),
    delays=st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=1, max_size=80),
)
def test_the_pages_clock_is_read_to_half_the_quickest_round_trip(
    offset: float, delays: list[tuple[float, float]]
) -> None:
    clock, now = PeerClock(), 1000.0
    for down, up in delays:
        # Ours − the page's = offset. We say `now`, the page hears it, captures, and sends 5 ms later.
        heard = now + down - offset
        sent = heard + 5
        arrived = sent + offset + up
        captured_ms = clock.capture_ms(Stamps(captured=heard, sent=sent, told=now, heard=heard), arrived)
        assert captured_ms <= arrived
        now = arrived
    best = min(down for down, _ in delays[-64:]) + min(up for _, up in delays[-64:])
    assert abs(captured_ms - (heard + offset)) <= best / 2 + 1e-3


def test_stamps_are_read_from_the_header() -> None:
    assert read_stamps(HEADER.pack(1, 2, 3, 4) + b"x") == Stamps(captured=1, sent=2, told=3, heard=4)
