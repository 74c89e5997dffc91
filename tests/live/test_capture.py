"""The capture thread: the newest frame of a live source, every frame of a file, and what the source raised."""

import math
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from edgex_runtime.capture import FILE_QUEUE, Capture, End
from edgex_runtime.clock import FakeClock
from edgex_runtime.errors import SourceLostError
from edgex_runtime.freshness import FillerFilter, State, stale_after_ns
from edgex_runtime.sources.fake import FakeSource
from edgex_runtime.sources.source import Frame, Source, SourceInfo, Unreadable

LIVE = SourceInfo(name="camera", live=True, fps=30.0)
FILE = SourceInfo(name="film", live=False, fps=30.0)
MakeFrame = Callable[..., Frame]
TIMEOUT_S = 20.0
"""No test waits this long unless it fails."""


class Hand:
    """Items for a `FakeSource`, handed over one by one; `give` returns when the capture thread is done with them."""

    def __init__(self) -> None:
        self._items: queue.Queue[Frame | Exception | None] = queue.Queue()
        self._asked = threading.Semaphore(0)

    def __iter__(self) -> Iterator[Frame | Unreadable | Exception]:
        while True:
            self._asked.release()
            item = self._items.get(timeout=TIMEOUT_S)
            if item is None:
                return
            yield item

    def give(self, *items: Frame | Exception) -> None:
        assert self._asked.acquire(timeout=TIMEOUT_S)
        for item in items:
            self._items.put(item)
            # Asking for the next one means that this one has been offered.
            assert self._asked.acquire(timeout=TIMEOUT_S)
        self._asked.release()

    def end(self) -> None:
        self._items.put(None)


def take(capture: Capture) -> Frame | Unreadable | End | None:
    return capture.take(timeout_s=TIMEOUT_S)


def test_of_a_live_source_only_the_newest_frame_is_taken_and_the_others_are_counted(frame: MakeFrame) -> None:
    hand = Hand()
    with Capture(FakeSource(hand, LIVE), clock=FakeClock()) as capture:
        for start in (0, 10, 20):
            hand.give(*(frame(index) for index in range(start, start + 10)))
            newest = take(capture)
            assert isinstance(newest, Frame)
            assert newest.index == start + 9
            assert capture.take(timeout_s=0) is None
        assert capture.dropped == 27
        hand.end()
        assert take(capture) is End.END


def test_of_a_file_every_frame_is_taken_and_the_file_waits(frame: MakeFrame) -> None:
    given = []

    def items() -> Iterator[Frame]:
        for index in range(50):
            given.append(index)
            yield frame(index)

    with Capture(FakeSource(items(), FILE), clock=FakeClock()) as capture:
        for index in range(50):
            item = take(capture)
            assert isinstance(item, Frame)
            assert item.index == index
            # In the queue, in the thread's hands, and one that was asked for while we looked.
            assert len(given) <= index + 1 + FILE_QUEUE + 2
        assert take(capture) is End.END
        assert capture.dropped == 0


@pytest.mark.parametrize("error", [SourceLostError("gone"), ZeroDivisionError("a bug")])
def test_what_the_source_raises_reaches_the_taker_after_the_frames_before_it(
    frame: MakeFrame, error: Exception
) -> None:
    source = FakeSource([frame(0), error], FILE)
    with Capture(source, clock=FakeClock()) as capture:
        assert isinstance(take(capture), Frame)
        with pytest.raises(type(error)):
            take(capture)
    assert source.closed


def test_leaving_early_closes_the_source_and_ends_the_thread(frame: MakeFrame) -> None:
    source = FakeSource((frame(index) for index in range(10**9)), FILE)
    with Capture(source, clock=FakeClock()) as capture:
        take(capture)
    assert source.closed


def test_a_source_that_repeats_itself_gives_no_frame_and_becomes_stale(frame: MakeFrame) -> None:
    hand, clock = Hand(), FakeClock()
    with Capture(FakeSource(hand, LIVE), clock=clock) as capture:
        hand.give(frame(7))
        assert isinstance(take(capture), Frame)
        for index in range(8, 12):
            clock.sleep(0.2)
            hand.give(replace(frame(7), index=index, image=frame(7).image.copy()))
        assert capture.take(timeout_s=0) is None
        assert capture.state() is State.STALE
        hand.give(frame(12))
        assert capture.state() is State.LIVE
        assert isinstance(take(capture), Frame)
        hand.end()


def test_a_silent_source_becomes_stale(frame: MakeFrame) -> None:
    hand, clock = Hand(), FakeClock()
    with Capture(FakeSource(hand, LIVE), clock=clock) as capture:
        hand.give(frame(0))
        clock.sleep(0.5)
        assert capture.state() is State.LIVE
        clock.sleep(0.001)
        assert capture.state() is State.STALE
        hand.end()


def test_a_slow_camera_is_given_three_periods() -> None:
    assert stale_after_ns(1.0) == 3_000_000_000


def test_a_lost_camera_is_opened_again_and_counts_on(frame: MakeFrame) -> None:
    first = FakeSource([frame(0), frame(1), SourceLostError("unplugged")], LIVE)
    hand = Hand()
    tries: list[Exception] = [SourceLostError("not yet")]

    def reopen() -> Source:
        if tries:
            raise tries.pop()
        return FakeSource(hand, LIVE)

    with Capture(first, clock=FakeClock(), reopen=reopen) as capture:
        hand.give(frame(0).__class__(image=frame(9).image, index=0, captured_ns=0, name="back"))
        item = take(capture)
        assert isinstance(item, Frame)
        assert (item.index, item.name) == (2, "back")
        assert capture.state() is State.LIVE
        assert first.closed
        hand.end()


def test_a_camera_that_is_open_again_is_live_only_with_a_new_frame(frame: MakeFrame) -> None:
    """What a driver shows first after it was lost is often its last picture; for ever has to be allowed as a limit."""
    first = FakeSource([frame(0), SourceLostError("unplugged")], LIVE)
    hand, reopened = Hand(), threading.Event()

    def reopen() -> Source:
        reopened.set()
        return FakeSource(hand, LIVE)

    with Capture(first, clock=FakeClock(), reopen=reopen, reconnect_s=math.inf) as capture:
        assert isinstance(take(capture), Frame)
        assert reopened.wait(10)
        hand.give(replace(frame(0), image=frame(0).image.copy()))
        assert capture.state() is State.RECONNECTING
        hand.give(frame(1))
        assert isinstance(take(capture), Frame)
        assert capture.state() is State.LIVE
        hand.end()


def test_a_camera_that_stays_away_is_lost_and_the_reason_is_told(frame: MakeFrame) -> None:
    def reopen() -> Source:
        raise SourceLostError("no such camera")

    source = FakeSource([SourceLostError("unplugged")], LIVE)
    with Capture(source, clock=FakeClock(), reopen=reopen, reconnect_s=0) as capture:
        with pytest.raises(SourceLostError, match="not back within 0 s: no such camera"):
            take(capture)
        assert capture.state() is State.RECONNECTING


def test_a_camera_that_gives_nothing_but_black_is_told_so_once(
    frame: MakeFrame, caplog: pytest.LogCaptureFixture
) -> None:
    hand, clock = Hand(), FakeClock()
    black = replace(frame(0), image=np.zeros((24, 32, 3), np.uint8))
    with Capture(FakeSource(hand, LIVE), clock=clock) as capture:
        hand.give(black)
        assert not caplog.text, "a moment of it is nothing"
        for _ in range(5):
            clock.sleep(1)
            hand.give(black)
        assert capture.state() is State.STALE
        hand.end()
    assert caplog.text.count("camera: gives pictures, and nothing new: they are black, or the last one again") == 1


def test_filler_is_told_from_frames_to_the_last_byte() -> None:
    filler = FillerFilter()
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert not filler.is_filler(image)
    assert filler.is_filler(image.copy())
    one_bit = image.copy()
    one_bit[5, 5, 1] ^= 1
    assert not filler.is_filler(one_bit)
    assert filler.is_filler(np.zeros_like(image))
    assert not filler.is_filler(image)


def test_a_dark_room_is_no_filler() -> None:
    dark = np.zeros((48, 64, 3), dtype=np.uint8)
    dark[13, 21, 2] = 1
    assert not FillerFilter().is_filler(dark)


def test_while_the_newest_frame_is_being_prepared_no_older_one_is_taken(frame: MakeFrame) -> None:
    hand = Hand()
    taken: list[object] = []

    def ahead(offered: Frame, period_ns: int) -> Frame:
        taken.append(capture.take(timeout_s=0))
        return replace(offered, name="prepared")

    with Capture(FakeSource(hand, LIVE), clock=FakeClock(), ahead=ahead) as capture:
        hand.give(frame(0), frame(1))
        assert taken == [None, None]
        newest = take(capture)
        assert isinstance(newest, Frame)
        assert (newest.index, newest.name, capture.dropped) == (1, "prepared", 1)
        assert capture.take(timeout_s=0) is None
        hand.end()


def test_a_frame_that_waits_is_taken_as_it_was_prepared(frame: MakeFrame) -> None:
    hand = Hand()
    periods: list[int] = []

    def ahead(offered: Frame, period_ns: int) -> Frame:
        periods.append(period_ns)
        return replace(offered, name="prepared")

    with Capture(FakeSource(hand, LIVE), clock=FakeClock(), ahead=ahead) as capture:
        hand.give(frame(0))
        waiting = take(capture)
        assert isinstance(waiting, Frame)
        assert (waiting.index, waiting.name) == (0, "prepared")
        assert periods == [round(1e9 / 30)]
        hand.end()
