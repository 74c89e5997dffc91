"""Network cameras by HTTP: the newest whole picture, whatever the camera's manners, and words for what is none."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_server import Answer, basic, digest_response, draw, jpeg, part, pictures, read, serve
from hypothesis import given, settings
from hypothesis import strategies as st

from edgex_runtime.errors import BadInputError, EdgexError, ImageError, SourceLostError
from edgex_runtime.sources.camera_url import parse_camera_url, parse_timeout
from edgex_runtime.sources.multipart import MAX_PART_BYTES, OversizedPartError, Part, PartParser
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source, Unreadable

pytest.importorskip("simplejpeg", reason="pip install 'edgex[jpeg]'")

from edgex_runtime.sources.jpeg import decode_whole

TIMEOUT_S = 20.0


def numbers(source: Source) -> list[int | None]:
    """What is read off every picture until the stream ends; None for one that is not whole."""
    seen: list[int | None] = []
    try:
        while (item := source.read()) is not None:
            seen.append(read(item.image) if isinstance(item, Frame) else None)
    except SourceLostError:
        pass
    source.close()
    return seen


def one_by_one(*parts: bytes, go_on: Callable[[], object]) -> Answer:
    """Send the next part when the last one has been taken."""

    def body() -> Iterator[bytes]:
        for data in parts:
            yield data
            go_on()

    return Answer(body=body)


@pytest.fixture
def wait() -> Iterator[threading.Event]:
    """Keeps a camera silent until the test is over."""
    event = threading.Event()
    yield event
    event.set()


FORMS = {
    "with a length": lambda data: part(data, length=len(data)),
    "without a length": part,
    "with a length that is too short": lambda data: part(data, length=len(data) - 700),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_streams_pictures_arrive_whole_or_are_told_to_be_damaged(form: str) -> None:
    turn = threading.Semaphore(0)
    parts = [FORMS[form](jpeg(number)) for number in range(1, 5)]
    with serve(lambda _: one_by_one(*parts, go_on=partial(turn.acquire, timeout=0.15))) as camera:
        seen = numbers(open_source(f"{camera.url}/video"))
    assert set(seen) == ({None} if "short" in form else {1, 2, 3, 4})


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=60).filter(lambda data: b"--b" not in data), max_size=6),
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.booleans(),
)
def test_parts_are_found_however_the_network_cuts_them(bodies: list[bytes], cuts: list[int], announced: bool) -> None:
    bodies = [body.rstrip(b"\r\n-") + b"." for body in bodies]
    text = b"preamble\r\n" + b"".join(part(x, length=len(x) if announced else None, boundary="b") for x in bodies)
    text += b"--b--\r\n"
    parser, found, at = PartParser(b"--b"), [], 0
    for moment in range(len(text)):
        size = cuts[moment % len(cuts)]
        found += parser.feed(text[at : at + size], moment)
        at += size
    assert [item.data for item in found] == bodies
    assert [item.started_ns for item in found] == sorted(item.started_ns for item in found)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=80) | st.sampled_from([b"--b", b"\r\n\r\n", b"Content-Length: 9\r\n"]), max_size=30))
def test_garbage_between_delimiters_never_breaks_the_parser(chunks: list[bytes]) -> None:
    parser = PartParser(b"b")
    for chunk in chunks:
        parser.feed(chunk, 0)
    whole = part(b"picture", length=7, boundary="b")
    assert Part(data=b"picture", started_ns=1) in parser.feed(b"x" * 20 + 2 * whole + whole, 1)


def test_a_part_is_stamped_when_its_first_byte_came_and_not_its_delimiter() -> None:
    parser = PartParser(b"b")
    assert parser.feed(b"--b\r\nContent-Type: image/jpeg\r\n\r\n", 1) == []
    assert parser.feed(b"pict", 2) == []
    assert parser.feed(b"ure\r\n--b", 3) == [Part(data=b"picture", started_ns=2)]


@pytest.mark.parametrize("text", [part(b"", length=MAX_PART_BYTES + 1), b"--frame\r\n" + b"x: y\r\n" * 4000])
def test_a_part_that_no_camera_sends_is_refused(text: bytes) -> None:
    with pytest.raises(OversizedPartError):
        PartParser(b"frame").feed(text, 0)


def test_a_part_without_an_end_is_refused() -> None:
    parser = PartParser(b"frame")
    parser.feed(part(bytes(MAX_PART_BYTES - 2)), 0)
    with pytest.raises(OversizedPartError, match="longer than"):
        parser.feed(b"0", 0)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(536, 2000), st.booleans())
def test_a_jpeg_that_was_cut_or_has_a_hole_is_never_a_picture(missing: int, closed: bool) -> None:
    """OpenCV and Pillow both give a picture for one that was cut and closed again, half of it grey."""
    noise = np.random.default_rng(0).integers(0, 40, (96, 256, 3), dtype=np.uint8)
    whole: bytes = cv2.imencode(".jpg", draw(4711) // 2 + noise)[1].tobytes()
    assert decode_whole(whole).shape == (96, 256, 3)
    with pytest.raises(ImageError, match="whole JPEG"):
        decode_whole(whole[:-missing] + (b"\xff\xd9" if closed else b""))
    with pytest.raises(ImageError, match="whole JPEG"):
        decode_whole(whole[: len(whole) // 2] + whole[len(whole) // 2 + missing :])


def test_of_a_camera_that_is_too_fast_only_the_newest_picture_is_decoded(wait: threading.Event) -> None:
    def body() -> Iterator[bytes]:
        for number in range(300):
            data = jpeg(number)
            yield part(data, length=len(data))
        wait.wait(TIMEOUT_S)

    with serve(lambda _: Answer(body=body)) as camera:
        source = open_source(f"{camera.url}/video")
        deadline = time.monotonic() + TIMEOUT_S
        indexes = []
        while not indexes or indexes[-1] < 299:
            assert time.monotonic() < deadline
            item = source.read()
            assert isinstance(item, Frame)
            assert read(item.image) == item.index
            indexes.append(item.index)
            time.sleep(0.02)
        source.close()
        wait.set()
    assert len(indexes) < 100


def test_a_camera_that_falls_silent_is_lost_and_one_that_hangs_up_too(wait: threading.Event) -> None:
    def silent() -> Iterator[bytes]:
        yield from pictures(7)()
        wait.wait(TIMEOUT_S)

    with serve(lambda path: Answer(body=silent if "silent" in path else pictures(7))) as camera:
        for path, words in (("silent", r"no (answer|picture) within 0\.3 s"), ("ends", "ended the stream")):
            source = open_source(f"{camera.url}/{path}#timeout=300ms")
            assert isinstance(source.read(), Frame)
            with pytest.raises(SourceLostError, match=words):
                source.read()
            source.close()
        wait.set()


def test_a_camera_that_sends_nothing_but_damaged_pictures_is_lost() -> None:
    def body() -> Iterator[bytes]:
        for number in range(100):
            yield part(jpeg(number)[:600], length=600)
            time.sleep(0.02)

    with serve(lambda _: Answer(body=body)) as camera:
        source = open_source(f"{camera.url}/video#timeout=300ms")
        assert isinstance(source.read(), Unreadable)
        with pytest.raises(SourceLostError, match="nothing but damaged"):
            numbers_of_damaged(source)
        source.close()


def numbers_of_damaged(source: Source) -> None:
    while True:
        assert isinstance(source.read(), Unreadable)


def test_another_thread_can_end_a_read_that_waits(wait: threading.Event) -> None:
    def silent() -> Iterator[bytes]:
        yield b"\r\n"
        wait.wait(TIMEOUT_S)

    with serve(lambda _: Answer(body=silent)) as camera:
        source = open_source(f"{camera.url}/video#timeout=15s")
        timer = threading.Timer(0.1, source.interrupt)  # type: ignore[attr-defined]
        timer.start()
        started = time.monotonic()
        assert source.read() is None
        assert time.monotonic() - started < 5
        source.close()
        timer.join()
        wait.set()


def test_a_snapshot_is_asked_for_again_and_again() -> None:
    count = iter(range(100))

    def answer(_: str) -> Answer:
        data = jpeg(next(count))
        return Answer(body=lambda: iter([data]), kind="image/jpeg", headers={"Content-Length": str(len(data))})

    with serve(answer) as camera:
        source = open_source(f"{camera.url}/snap.jpg#fps=50")
        frames = [source.read() for _ in range(4)]
        source.close()
    shown = [read(frame.image) for frame in frames if isinstance(frame, Frame)]
    assert len(shown) == 4
    assert shown == [frame.index for frame in frames if isinstance(frame, Frame)]


def test_the_cameras_own_query_reaches_it_and_our_options_do_not() -> None:
    with serve(lambda _: Answer(body=pictures(1))) as camera:
        open_source(f"{camera.url}/video?size=640x480&timeout=9#timeout=2s").close()
        assert camera.requests == ["/video?size=640x480&timeout=9"]


def guarded(ask: str, accepts: Callable[[str], bool]) -> Callable[[str], Answer]:
    def answer(request: str) -> Answer:
        if accepts(request.partition(" ")[2]):
            return Answer(body=pictures(5))
        return Answer(body=lambda: iter([b""]), kind="text/html", code=401, headers={"WWW-Authenticate": ask})

    return answer


PASSWORD = "p@s/s:%&?"
QUOTED = "p%40s%2Fs%3A%25%26%3F"


def accepts_digest(authorization: str) -> bool:
    if not authorization.startswith("Digest "):
        return False
    wanted, said = digest_response("admin", PASSWORD, authorization, realm="cam", nonce="n1")
    return wanted == said


@pytest.mark.parametrize(
    ("ask", "accepts"),
    [
        ('Basic realm="cam"', lambda authorization: authorization == basic("admin", PASSWORD)),
        ('Digest realm="cam", nonce="n1", qop="auth", algorithm=MD5', accepts_digest),
    ],
)
def test_a_camera_lets_in_who_has_the_password_and_no_message_tells_it(
    ask: str, accepts: Callable[[str], bool]
) -> None:
    with serve(guarded(ask, accepts)) as camera:
        place = camera.url.removeprefix("http://")
        source = open_source(f"http://admin:{QUOTED}@{place}/video")
        assert source.info.name == f"http://***@{place}/video"
        frame = source.read()
        assert isinstance(frame, Frame)
        assert frame.name == f"http://***@{place}/video#0"
        source.close()
        for wrong in (f"http://admin:s3cret@{place}/video", f"http://{place}/video?token=s3cret"):
            with pytest.raises(BadInputError, match=r"401.*check user and password") as refused:
                open_source(wrong)
            assert "s3cret" not in str(refused.value)


def test_a_password_is_not_carried_to_another_host() -> None:
    with serve(guarded('Basic realm="cam"', lambda _: False)) as other:
        elsewhere = Answer(body=lambda: iter([b""]), code=302, headers={"Location": f"{other.url}/video"})
        with serve(lambda _: elsewhere) as camera, pytest.raises(BadInputError, match="401"):
            open_source(f"http://admin:s3cret@{camera.url.removeprefix('http://')}/video")
        assert other.requests == ["/video"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x"])
def test_a_redirect_leads_to_no_other_protocol(location: str) -> None:
    elsewhere = Answer(body=lambda: iter([b""]), code=302, headers={"Location": location})
    with serve(lambda _: elsewhere) as camera, pytest.raises(EdgexError, match="redirect"):
        open_source(f"{camera.url}/video")


def test_a_redirect_on_the_same_camera_is_followed() -> None:
    def answer(path: str) -> Answer:
        moved = Answer(body=lambda: iter([b""]), code=302, headers={"Location": "/new"})
        return Answer(body=pictures(3)) if path == "/new" else moved

    with serve(answer) as camera:
        assert numbers(open_source(f"{camera.url}/old")) == [3]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(body=lambda: iter([b"<html>"]), kind="text/html"), BadInputError, "found text/html"),
        (Answer(body=lambda: iter([b""]), kind="multipart/x-mixed-replace"), BadInputError, "want an MJPEG stream"),
        (Answer(body=lambda: iter([b""]), code=404), BadInputError, "404"),
        (Answer(body=lambda: iter([b""]), code=503), SourceLostError, "503"),
    ],
)
def test_what_is_no_stream_is_told_in_words(answer: Answer, error: type[EdgexError], words: str) -> None:
    with serve(lambda _: answer) as camera, pytest.raises(error, match=words):
        open_source(f"{camera.url}/video")


def test_a_camera_that_accepts_and_says_nothing_is_lost_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(SourceLostError, match=r"no answer within 0\.3 s"):
            open_source(f"http://127.0.0.1:{port}/video#timeout=300ms")
        assert time.monotonic() - started < 2
    with pytest.raises(SourceLostError, match=r"refused.*is the camera on"):
        open_source(f"http://127.0.0.1:{port}/video#timeout=300ms")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://admin:p/ss@camera/1", "%2F"),
        ("http://admin:p#ss@camera/1", "%23"),
        ("http://camera:port/1", "host:port"),
        ("http:///video", "host:port"),
        ("http://cam era/1", "percent-encoded"),
        ("http://camera/1#tiemout=3s", "did you mean 'timeout'"),
        ("http://camera/1#timeout=0s", "100ms or more"),
        ("http://camera/1#verify=maybe", "want yes or no"),
        ("https://camera/1#ca=/no/such/file", "certificate in PEM"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(uri: str, words: str) -> None:
    with pytest.raises(BadInputError, match=words) as refused:
        open_source(uri)
    assert "ss@" not in str(refused.value)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_address_is_taken_apart_or_refused(rest: str) -> None:
    try:
        url = parse_camera_url(f"http://{rest}", {"timeout": parse_timeout})
    except BadInputError:
        return
    assert "@" not in url.address.partition("://")[2].partition("/")[0]


def test_tls_is_verified_unless_told_otherwise(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serve(lambda _: Answer(body=pictures(8)), context) as camera:
        with pytest.raises(BadInputError, match=r"cannot be verified.*#ca=FILE"):
            open_source(f"{camera.url}/video")
        assert numbers(open_source(f"{camera.url}/video#verify=no")) == [8]
        assert numbers(open_source(f"{camera.url}/video#ca={certificate.with_suffix('.crt')}")) == [8]
