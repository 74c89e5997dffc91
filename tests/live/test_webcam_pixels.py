"""A camera that sends JPEGs: whole ones are pictures, damaged ones are told, also where OpenCV insists on decoding.

The camera is a stand-in that answers as OpenCV's V4L2 backend does (modules/videoio/src/cap_v4l.cpp): asked not to
convert, `retrieve` gives the driver's buffer as one row of bytes; else what `cv2.imdecode` makes of it.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_server import draw, read
from numpy.typing import NDArray

from edgex_runtime.clock import FakeClock
from edgex_runtime.errors import MissingExtraError, SourceLostError
from edgex_runtime.sources.source import Frame, Unreadable
from edgex_runtime.sources.webcam import WebcamSource, open_webcam

simplejpeg = pytest.importorskip("simplejpeg", reason="pip install 'edgex[jpeg]'")
YUYV = cv2.VideoWriter.fourcc(*"YUYV")
MJPG = cv2.VideoWriter.fourcc(*"MJPG")


class V4l2Capture:
    """One camera as OpenCV shows it; `buffers` are what its driver gives, one after the other."""

    def __init__(
        self, buffers: list[bytes], *, can_be_raw: bool = True, formats: tuple[int, ...] = (YUYV, MJPG)
    ) -> None:
        self.buffers = buffers
        self.can_be_raw = can_be_raw
        self.formats = formats
        self.values: dict[int, float] = {
            cv2.CAP_PROP_FOURCC: formats[0],
            cv2.CAP_PROP_CONVERT_RGB: 1,
            cv2.CAP_PROP_BUFFERSIZE: 4,
            cv2.CAP_PROP_FPS: 30,
        }
        self.taken = -1
        self.is_open = True

    def isOpened(self) -> bool:  # noqa: N802
        return self.is_open

    def get(self, name: int) -> float:
        return self.values.get(name, 0.0)

    def set(self, name: int, value: float) -> bool:
        if name == cv2.CAP_PROP_CONVERT_RGB and not self.can_be_raw:
            return False
        # A format that the driver does not have leaves another in use, and is no error.
        if name != cv2.CAP_PROP_FOURCC or value in self.formats:
            self.values[name] = value
        return True

    def grab(self) -> bool:
        self.taken += 1
        return self.taken < len(self.buffers)

    def retrieve(self) -> tuple[bool, NDArray[np.uint8] | None]:
        row = np.frombuffer(self.buffers[self.taken], np.uint8).reshape(1, -1)
        if self.values[cv2.CAP_PROP_FOURCC] == YUYV:
            return True, cv2.cvtColor(draw(self.taken), cv2.COLOR_RGB2BGR)  # type: ignore[return-value]
        if not self.values[cv2.CAP_PROP_CONVERT_RGB]:
            return row.size > 0, row.copy() if row.size else None
        image = cv2.imdecode(row, cv2.IMREAD_COLOR) if row.size else None
        return image is not None, image  # type: ignore[return-value]

    def release(self) -> None:
        self.is_open = False


@pytest.fixture
def open_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., WebcamSource]:
    (tmp_path / "video0").touch()

    def open_camera(capture: V4l2Capture, query: str = "?format=MJPG", clock: FakeClock | None = None) -> WebcamSource:
        monkeypatch.setattr("edgex_runtime.sources.webcam.cv2.VideoCapture", lambda *_: capture)
        return open_webcam(f"{tmp_path}/video0{query}", clock or FakeClock())

    return open_camera


def to_jpeg(number: int) -> bytes:
    """As webcams send them: 4:2:2, and bytes behind the end that belong to nothing."""
    image = draw(number, (640, 480)) + np.random.default_rng(number).normal(0, 8, (480, 640, 3))
    data: bytes = simplejpeg.encode_jpeg(image.clip(0, 255).astype(np.uint8), quality=85, colorsubsampling="422")
    return data + bytes(64)


def without_tables(data: bytes) -> bytes:
    """A JPEG without its Huffman tables: many webcams leave the standard's own out."""
    at, kept = 2, data[:2]
    while data[at + 1] != 0xDA:
        size = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kept += b"" if data[at + 1] == 0xC4 else data[at : at + size]
        at += size
    return kept + data[at:]


def with_hole(data: bytes, size: int = 1024) -> bytes:
    """What is left when one packet did not come; begin and end are there."""
    middle = len(data) // 2
    return data[:middle] + data[middle + size :]


def shown(items: list[Frame | Unreadable | None]) -> list[int | None]:
    return [read(item.image) if isinstance(item, Frame) else None for item in items]


def test_whole_jpegs_are_pictures_and_damaged_ones_are_told(open_it: Callable[..., WebcamSource]) -> None:
    whole = to_jpeg(7)
    damaged = [with_hole(whole), whole[: len(whole) // 2], whole[: len(whole) // 2] + b"\xff\xd9", b"\0" * 99, b""]
    row = np.frombuffer(damaged[0], np.uint8).reshape(1, -1)
    assert cv2.imdecode(row, cv2.IMREAD_COLOR) is not None, "OpenCV alone takes it for a picture"
    capture = V4l2Capture([to_jpeg(5), *damaged, without_tables(whole)])
    source = open_it(capture)
    items = [source.read() for _ in range(7)]
    assert shown(items) == [5, None, None, None, None, None, 7]
    told = items[1]
    assert isinstance(told, Unreadable)
    assert "video0#1: want a whole JPEG" in told.error
    assert [item.index for item in items if item] == list(range(7))
    assert capture.get(cv2.CAP_PROP_BUFFERSIZE) == 2, "OpenCV copies a raw buffer after it gave it back"


def test_pixels_that_are_not_compressed_are_taken_as_before(open_it: Callable[..., WebcamSource]) -> None:
    capture = V4l2Capture([b"", b""])
    source = open_it(capture, "")
    assert shown([source.read(), source.read()]) == [0, 1]
    assert (capture.get(cv2.CAP_PROP_CONVERT_RGB), capture.get(cv2.CAP_PROP_BUFFERSIZE)) == (1, 1)


def test_what_the_driver_sends_counts_and_not_what_was_asked_for(open_it: Callable[..., WebcamSource]) -> None:
    source = open_it(V4l2Capture([b""], formats=(YUYV,)))
    assert shown([source.read()]) == [0]
    source = open_it(V4l2Capture([with_hole(to_jpeg(3)), to_jpeg(3)], formats=(MJPG,)), "")
    assert shown([source.read(), source.read()]) == [None, 3]


@pytest.mark.parametrize("can_be_raw", [True, False])
def test_where_opencv_decodes_in_any_case_that_is_said_once(
    open_it: Callable[..., WebcamSource], caplog: pytest.LogCaptureFixture, can_be_raw: bool
) -> None:
    capture = V4l2Capture([to_jpeg(1), to_jpeg(2)], can_be_raw=can_be_raw)
    if can_be_raw:
        # It says that it hands over buffers, and does not.
        monkey = capture.set
        capture.set = lambda name, value: name == cv2.CAP_PROP_CONVERT_RGB or monkey(name, value)  # type: ignore[method-assign]
    source = open_it(capture)
    assert shown([source.read(), source.read()]) == [1, 2]
    assert caplog.text.count("takes damaged ones for whole ones") == 1
    assert "?format=YUYV" in caplog.text


def test_a_camera_of_nothing_but_damaged_pictures_is_lost_in_time_with_a_way_out(
    open_it: Callable[..., WebcamSource],
) -> None:
    clock = FakeClock()
    source = open_it(V4l2Capture([with_hole(to_jpeg(1))] * 9), "?format=MJPG&timeout=2s", clock)
    for _ in range(4):
        assert isinstance(source.read(), Unreadable)
        clock.sleep(0.5)
    clock.sleep(0.1)
    with pytest.raises(SourceLostError, match=r"nothing but damaged pictures: .*\?format=YUYV"):
        source.read()


def test_without_a_decoder_that_tells_the_camera_is_refused_and_let_go(
    open_it: Callable[..., WebcamSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "edgex_runtime.sources.jpeg", raising=False)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    capture = V4l2Capture([to_jpeg(1)])
    with pytest.raises(MissingExtraError, match=r"pip install 'edgex\[jpeg\]', or take pixels .*\?format=YUYV"):
        open_it(capture)
    assert not capture.is_open
    assert shown([open_it(V4l2Capture([b""]), "").read()]) == [0], "one that sends pixels needs none"
