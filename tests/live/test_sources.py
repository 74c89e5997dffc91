"""Sources: what is typed, what comes out, and what is said when there is nothing."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgex_runtime.clock import FakeClock, SystemClock
from edgex_runtime.errors import BadInputError, EdgexError, SourceLostError
from edgex_runtime.sources import pattern
from edgex_runtime.sources.fake import FakeSource
from edgex_runtime.sources.options import parse_options
from edgex_runtime.sources.pattern import OPTIONS, SHAPES, open_pattern
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source, SourceInfo, Unreadable

Bars = Callable[[NDArray[np.uint8]], int]


def read_all(source: Source) -> list[Frame | Unreadable]:
    items = []
    while (item := source.read()) is not None:
        items.append(item)
    source.close()
    return items


def frames_of(source: Source) -> list[Frame]:
    items = read_all(source)
    assert all(isinstance(item, Frame) for item in items)
    return [item for item in items if isinstance(item, Frame)]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(["img2.png", "img10.PNG", "more/img1.jpg"]):
        image = np.full((20, 30, 3), (10 * number, 0, 200), dtype=np.uint8)
        encoded = cv2.imencode(Path(name).suffix.lower(), image)[1]
        (folder / name).write_bytes(encoded.tobytes())
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture(params=["fake", "video", "folder", "test"])
def every_source(
    request: pytest.FixtureRequest, bar_video: Callable[..., Path], pictures: Path, frame: Callable[..., Frame]
) -> Source:
    """Each kind of source that needs no hardware, three frames long."""
    if request.param == "fake":
        return FakeSource([frame(index) for index in range(3)], SourceInfo(name="fake", live=False))
    uri = {"video": bar_video(frames=3), "folder": pictures, "test": "test://shapes?frames=3&size=64x48"}
    return open_source(str(uri[request.param]), clock=FakeClock())


def test_every_source_gives_rgb_frames_in_order_and_then_stays_at_its_end(every_source: Source) -> None:
    items = [every_source.read() for _ in range(5)]
    assert items[3:] == [None, None]
    for index, item in enumerate(items[:3]):
        assert isinstance(item, Frame)
        assert item.index == index
        assert item.image.dtype == np.uint8
        assert item.image.ndim == 3
        assert item.image.shape[2] == 3
        assert item.image.flags.c_contiguous
        assert item.name
    every_source.close()
    every_source.close()


def test_a_closed_source_is_at_its_end(every_source: Source) -> None:
    every_source.read()
    if not isinstance(every_source, FakeSource):
        every_source.close()
        assert every_source.read() is None


@pytest.mark.parametrize(("name", "codec"), [("bars.avi", "MJPG"), ("bars.mp4", "mp4v"), ("bars.webm", "VP80")])
def test_a_video_gives_every_frame_in_order_with_its_timestamp(
    bar_video: Callable[..., Path], bars: Bars, name: str, codec: str
) -> None:
    source = open_source(str(bar_video(name, frames=20, fps=12.5, codec=codec)))
    assert source.info.live is False
    assert source.info.fps == pytest.approx(12.5)
    frames = frames_of(source)
    assert [bars(frame.image) for frame in frames] == list(range(20))
    positions = [frame.position_ms for frame in frames]
    assert positions == pytest.approx([80 * index for index in range(20)], abs=1.5)


def test_a_video_comes_out_rgb(tmp_path: Path) -> None:
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    writer.write(np.full((64, 64, 3), (0, 0, 255), dtype=np.uint8))
    writer.release()
    (frame,) = frames_of(open_source(str(path)))
    assert frame.image[32, 32] == pytest.approx([255, 0, 0], abs=6)


def test_a_rotated_video_comes_out_upright(bar_video: Callable[..., Path]) -> None:
    path = bar_video("phone.mp4", frames=2, codec="mp4v")
    data = path.read_bytes()
    one, zero, unit = (1 << 16).to_bytes(4, "big"), bytes(4), (1 << 30).to_bytes(4, "big")
    identity = one + zero * 3 + one + zero * 3 + unit
    # ISO/IEC 14496-12, tkhd: a quarter turn clockwise, as a phone held upright writes it.
    turned = zero + one + zero + (-1 << 16).to_bytes(4, "big", signed=True) + zero * 4 + unit
    track = data.index(b"tkhd")
    at = data.index(identity, track)
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])
    (first, _) = frames_of(open_source(str(path)))
    assert first.image.shape == (128, 64, 3)


def test_a_damaged_video_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    with pytest.raises(BadInputError, match="cut off"):
        open_source(str(path))


def test_a_video_that_ends_early_says_so(
    bar_video: Callable[..., Path], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = bar_video(frames=200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = frames_of(open_source(str(path)))
    assert 0 < len(frames) < 200
    assert f"announces 200 frames, {len(frames)} could be decoded" in caplog.text


def test_a_video_without_one_whole_frame_is_refused(
    bar_video: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = bar_video(frames=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = open_source(str(path))
    with pytest.raises(BadInputError, match="not one frame"):
        source.read()
    source.close()


@pytest.mark.shared
def test_every_frame_of_a_real_video_arrives(shared: Path) -> None:
    source = open_source(str(shared / "video" / "bottle-detection.mp4"))
    assert source.info.fps == pytest.approx(29.83, abs=0.01)
    positions = []
    while isinstance(item := source.read(), Frame):
        assert item.position_ms is not None
        positions.append(item.position_ms)
    source.close()
    assert len(positions) == 1189
    assert positions == sorted(positions)


def test_a_folder_gives_every_picture_in_the_order_a_person_counts(pictures: Path) -> None:
    frames = frames_of(open_source(str(pictures)))
    assert [frame.name for frame in frames] == ["img2.png", "img10.PNG", "more/img1.jpg"]
    assert frames[0].image[0, 0].tolist() == [200, 0, 0]


def test_a_quoted_pattern_gives_what_it_matches(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    assert [frame.name for frame in frames_of(open_source("*.png"))] == ["img2.png"]


def test_a_name_with_brackets_is_the_file_of_that_name(pictures: Path) -> None:
    odd = pictures / "[2].png"
    shutil.copy(pictures / "img2.png", odd)
    assert [frame.name for frame in frames_of(open_source(str(odd)))] == ["[2].png"]


def test_an_unreadable_picture_is_reported_in_its_place(pictures: Path) -> None:
    (pictures / "img3.png").write_bytes(b"not a picture")
    items = read_all(open_source(str(pictures)))
    assert [item.name for item in items] == ["img2.png", "img3.png", "img10.PNG", "more/img1.jpg"]
    assert isinstance(items[1], Unreadable)
    assert items[1].index == 1
    assert "img3.png" in items[1].error


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no \.jpg"):
        open_source(str(tmp_path))


def test_the_pattern_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    def draw(seed: int) -> list[NDArray[np.uint8]]:
        uri = f"test://shapes?frames=5&size=96x64&seed={seed}"
        return [frame.image for frame in frames_of(open_pattern(uri, FakeClock()))]

    assert all(np.array_equal(one, other) for one, other in zip(draw(1), draw(1), strict=True))
    assert not any(np.array_equal(one, other) for one, other in zip(draw(1), draw(2), strict=True))


def test_the_pattern_keeps_its_pace() -> None:
    clock = FakeClock(now_ns=5)
    frames = frames_of(open_pattern("test://shapes?frames=4&fps=25&size=64x48", clock))
    assert [frame.captured_ns for frame in frames] == [5, 40_000_005, 80_000_005, 120_000_005]


def test_a_reader_who_comes_late_gets_the_present_frame() -> None:
    clock = FakeClock()
    source = open_pattern("test://shapes?fps=10&size=64x48", clock)
    source.read()
    clock.sleep(1.05)
    late = source.read()
    assert late is not None
    assert late.index == 10
    assert late.captured_ns == 1_050_000_000


def test_the_pattern_loses_the_share_of_frames_that_was_asked_for() -> None:
    frames = frames_of(open_pattern("test://shapes?frames=400&drop=25%&size=16x16&seed=3", FakeClock()))
    # 400 draws of p = 0.25: a standard deviation is 8.7 frames; five of them.
    assert len(frames) == pytest.approx(300, abs=44)
    assert len({frame.index for frame in frames}) == len(frames)


def test_the_pattern_freezes_as_long_as_it_was_asked_to() -> None:
    frames = frames_of(open_pattern("test://shapes?frames=60&fps=10&freeze=1s&size=64x48", FakeClock()))
    same = [np.array_equal(one.image, other.image) for one, other in itertools.pairwise(frames)]
    assert same == [19 <= index % 30 < 29 for index in range(59)]


def test_the_pattern_shows_each_shape() -> None:
    frames = frames_of(open_pattern("test://shapes?frames=20&fps=2&size=64x48", FakeClock()))
    assert {frame.name.partition("#")[0] for frame in frames} == set(SHAPES)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("test://shapes?fsp=30", "did you mean 'fps'"),
        ("test://shape", "did you mean 'shapes'"),
        ("test://shapes?fps=0", "above 0"),
        ("test://shapes?fps=1&fps=2", "twice"),
        ("test://shapes?size=640", "WIDTHxHEIGHT"),
        ("test://shapes?drop=5", "such as 5%"),
        ("test://shapes?freeze=3", "with its unit"),
        ("tset://shapes", "did you mean 'test'"),
        ("csi://0", "want a Raspberry Pi or an NVIDIA Jetson"),
        ("csi://x", "as in csi://0"),
        ("gst:", "want a pipeline"),
        ("gst:videotestsrc pattern='x", "quotation mark"),
        ("-", "say their size"),
        ("-?size=640x480&format=rgb", "want rgb24 or bgr24"),
        ("-?size=641x480&format=nv12", "even width"),
        ("0?szie=640x480", "did you mean 'size'"),
        ("no*such?file", "no file matches"),
        ("", "no such file"),
        ("x" * 5000, "no such file"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_the_nearest_that_can(uri: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        open_source(uri)


def test_the_test_cameras_first_picture_is_not_as_old_as_its_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    draw = pattern._draw_paper

    def draw_slowly(*args: object) -> object:
        clock.sleep(3)
        return draw(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pattern, "_draw_paper", draw_slowly)
    source = open_pattern("test://shapes?size=64x48&fps=30", clock)
    first, second = source.read(), source.read()
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert (first.index, second.index) == (0, 1)
    assert clock.now_ns() - second.captured_ns == 0


SECRET = "admin:s3cret@x?password=s3cret"


@pytest.mark.parametrize(
    "start",
    ["", "-?", "0?", "x/", "x.mp4?"]
    + [
        f"{scheme}://"
        for scheme in ["rtsp", "rtsps", "http", "https", "rstp", "browser", "csi", "screen", "test", "acme"]
    ]
    + [
        "test://shapes?",
        "test://shapes?every=1s&black=2s&",
        "gst:fakesrc user-pw=",
        "gst:'",
        "rtsp:",
        "http://[",
        "http://x:y",
    ],
)
def test_no_refusal_tells_the_password(start: str) -> None:
    with pytest.raises(EdgexError) as refused:
        open_source(start + SECRET)
    assert "s3cret" not in str(refused.value)
    assert "admin" not in str(refused.value)


def test_a_misspelt_file_is_answered_with_the_right_one(bar_video: Callable[..., Path]) -> None:
    path = bar_video("holiday.avi", frames=1)
    with pytest.raises(BadInputError, match=r"did you mean '.*holiday.avi'"):
        open_source(str(path.with_name("holyday.avi")))


def test_a_camera_that_is_not_there_is_a_lost_source() -> None:
    with pytest.raises(SourceLostError, match=r"/dev/video97: no such camera; .*test://shapes"):
        open_source("97", clock=SystemClock())


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"(size|fps|drop|freeze|frames|seed)=[0-9a-zx.%]{0,9}(&fps=[0-9.]{1,4})?"))
def test_whatever_is_typed_after_the_question_mark_is_understood_or_refused(query: str) -> None:
    try:
        values = parse_options(query, OPTIONS, where="test://shapes")
    except BadInputError:
        return
    assert set(values) <= set(OPTIONS)


def test_a_third_partys_scheme_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_camera.py").write_text(
        "from edgex_runtime.sources.fake import FakeSource\n"
        "from edgex_runtime.sources.source import SourceInfo\n"
        "def open_acme(uri, clock):\n"
        "    return FakeSource([], SourceInfo(name=uri, live=True))\n"
    )
    dist = tmp_path / "acme_camera-1.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-camera\nVersion: 1\n")
    (dist / "entry_points.txt").write_text("[edgex.sources]\nacme = acme_camera:open_acme\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert open_source("acme://7").info.name == "acme://7"
