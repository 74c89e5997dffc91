"""Packets become pictures again, a loss is noticed, and any description is understood or refused."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_packets import SDP, stream

from edgex_runtime.sources.rtp import Assembler
from edgex_runtime.sources.sdp import find_video


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
