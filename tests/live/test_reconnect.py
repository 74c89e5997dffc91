"""A live source that was lost: how long it is tried, when it counts as back, and how a run that waits for it ends."""

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgex_runtime.backoff import CAP_S, FIRST_S, Backoff
from edgex_runtime.capture import Capture, End
from edgex_runtime.clock import FakeClock
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.freshness import FillerFilter, Rhythm, State
from edgex_runtime.sources.fake import FakeSource
from edgex_runtime.sources.source import Frame, Source, SourceInfo, Unreadable

LIVE = SourceInfo(name="camera", live=True, fps=30.0)
MakeFrame = Callable[..., Frame]
TIMEOUT_S = 20.0


class NoPause(np.random.Generator):
    """Jitter that is always the least."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, *_: object, **__: object) -> float:  # type: ignore[override]
        return 0.0


def lost_at_once() -> FakeSource:
    return FakeSource([SourceLostError("hangs up")], LIVE)


def take(capture: Capture) -> Frame | Unreadable | End | None:
    return capture.take(timeout_s=TIMEOUT_S)


def test_pauses_grow_to_the_cap_and_fall_back_when_the_source_works() -> None:
    backoff = Backoff(np.random.default_rng(0))
    ceilings = [FIRST_S, 0.5, 1.0, 2.0, CAP_S, CAP_S, CAP_S]
    many = np.array([[backoff.next_s() for _ in ceilings] for _ in range(400) if backoff.reset() is None])
    assert (many <= ceilings).all()
    # Uniform from 0: of 400 draws the least is far below, and the greatest near, the ceiling.
    assert (many.min(axis=0) < 0.05 * np.array(ceilings)).all()
    assert (many.max(axis=0) > 0.95 * np.array(ceilings)).all()


def test_a_source_that_opens_and_fails_at_once_uses_up_its_limit() -> None:
    clock = FakeClock()
    opened = itertools.count()

    def reopen() -> Source:
        next(opened)
        clock.sleep(1.0)
        return lost_at_once()

    with Capture(lost_at_once(), clock=clock, reopen=reopen, reconnect_s=9.5, rng=NoPause()) as capture:
        with pytest.raises(SourceLostError, match=r"not back within 9\.5 s: hangs up"):
            take(capture)
        assert next(opened) == 10
        assert capture.state() is State.RECONNECTING
        assert capture.reconnects == 0


def test_each_loss_after_a_new_frame_has_the_whole_limit(frame: MakeFrame) -> None:
    clock = FakeClock()
    opened = itertools.count(1)

    def reopen() -> Source:
        clock.sleep(5.0)
        index = next(opened)
        return FakeSource([frame(index), SourceLostError("again")] if index < 10 else [frame(index)], LIVE)

    first = FakeSource([frame(0), SourceLostError("unplugged")], LIVE)
    with Capture(first, clock=clock, reopen=reopen, reconnect_s=6, rng=NoPause()) as capture:
        while take(capture) is not End.END:
            pass
        assert capture.reconnects == 10


@pytest.mark.parametrize("limit_s", [None, math.inf, 1e308])
def test_a_source_may_stay_away_for_ever(frame: MakeFrame, limit_s: float | None) -> None:
    clock = FakeClock()
    tries = itertools.count()

    def reopen() -> Source:
        clock.sleep(86_400)
        if next(tries) < 500:
            raise SourceLostError("no such camera")
        return FakeSource([frame(1)], LIVE)

    with Capture(lost_at_once(), clock=clock, reopen=reopen, reconnect_s=limit_s, rng=NoPause()) as capture:
        assert isinstance(take(capture), Frame)
        assert take(capture) is End.END


def test_what_would_be_the_users_mistake_at_the_start_does_not_end_a_run_that_had_begun(frame: MakeFrame) -> None:
    """The camera shows its log-in page while it boots."""
    answers: list[Exception | Source] = [FakeSource([frame(5)], LIVE), BadInputError("want a stream, found text/html")]

    def reopen() -> Source:
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Capture(lost_at_once(), clock=FakeClock(), reopen=reopen, rng=NoPause()) as capture:
        assert isinstance(take(capture), Frame)


def test_of_a_file_that_is_lost_nothing_is_shown_twice(frame: MakeFrame) -> None:
    source = FakeSource([frame(0), SourceLostError("disk")], SourceInfo(name="film", live=False))
    with Capture(source, clock=FakeClock(), reopen=lost_at_once) as capture:
        assert isinstance(take(capture), Frame)
        with pytest.raises(SourceLostError, match="disk"):
            take(capture)


def test_a_source_comes_back_with_another_size_and_its_own_staleness(frame: MakeFrame) -> None:
    wait = threading.Event()

    def items() -> Iterator[Frame]:
        yield frame(9, size=(64, 48))
        wait.wait(TIMEOUT_S)

    def reopen() -> Source:
        return FakeSource(items(), replace(LIVE, fps=0.5))

    first = FakeSource([frame(0), SourceLostError("unplugged")], LIVE)
    with Capture(first, clock=FakeClock(), reopen=reopen, rng=NoPause()) as capture:
        assert capture.stale_after_s in (0.5, 6.0)
        # Whether the first frame is taken before the second has replaced it is a matter of luck.
        item = take(capture)
        while isinstance(item, Frame) and item.image.shape != (48, 64, 3):
            item = take(capture)
        assert isinstance(item, Frame)
        assert capture.stale_after_s == 6.0
        wait.set()


def test_a_damaged_picture_is_told_but_is_no_news_and_takes_no_frames_place(frame: MakeFrame) -> None:
    damaged = Unreadable(index=1, captured_ns=0, name="camera#1", error="cut off")
    items = [frame(0), damaged, SourceLostError("gone")]
    back = FakeSource([replace(damaged, index=0), replace(damaged, index=1)], LIVE)
    with Capture(FakeSource(items, LIVE), clock=FakeClock(), reopen=lambda: back, rng=NoPause()) as capture:
        capture._thread.join(TIMEOUT_S)
        first, second = take(capture), take(capture)
        assert isinstance(first, Frame)
        assert second is End.END
        assert capture.damaged == 3
        assert capture.dropped == 0
        assert capture.state() is State.RECONNECTING


class Waiting:
    """A source whose driver waits until it is told not to."""

    info = LIVE

    def __init__(self) -> None:
        self.told = threading.Event()
        self.closed = False

    def read(self) -> Frame | None:
        self.told.wait(TIMEOUT_S)
        return None

    def interrupt(self) -> None:
        self.told.set()

    def close(self) -> None:
        self.closed = True


def test_a_read_that_waits_does_not_keep_a_run_from_ending() -> None:
    source = Waiting()
    started = time.monotonic()
    with Capture(source, clock=FakeClock()):
        pass
    assert source.closed
    assert time.monotonic() - started < 1.0


def test_a_driver_that_cannot_be_told_is_left_within_two_seconds_and_closed_when_it_answers() -> None:
    inner = Waiting()

    class Deaf:
        info, read, close = inner.info, inner.read, inner.close

    started = time.monotonic()
    with Capture(Deaf(), clock=FakeClock()) as capture:  # type: ignore[arg-type]
        pass
    assert time.monotonic() - started < 2.0
    inner.told.set()
    capture._thread.join(TIMEOUT_S)
    assert inner.closed


def test_a_source_that_comes_back_while_the_run_ends_is_closed() -> None:
    opening, goes_on = threading.Event(), threading.Event()
    late = Waiting()

    def reopen() -> Source:
        opening.set()
        goes_on.wait(TIMEOUT_S)
        return late

    with Capture(lost_at_once(), clock=FakeClock(), reopen=reopen, rng=NoPause()) as capture:
        assert opening.wait(TIMEOUT_S)
    goes_on.set()
    capture._thread.join(TIMEOUT_S)
    assert late.closed


@pytest.mark.parametrize("fps", [None, 30.0, 1000.0])
def test_a_camera_of_one_frame_a_second_stays_live_whatever_it_announces(frame: MakeFrame, fps: float | None) -> None:
    rhythm = Rhythm(fps)
    for second in range(4):
        rhythm.beat(second * 1_000_000_000)
    assert rhythm.stale_after_ns == 3_000_000_000
    for index in range(40):
        rhythm.beat(4_000_000_000 + index * 33_000_000)
    assert rhythm.stale_after_ns == 500_000_000


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.floats(min_value=5e-324, max_value=1e308), st.lists(st.integers(0, 2**62), max_size=20))
def test_no_rate_and_no_gap_makes_staleness_fail(fps: float, gaps: list[int]) -> None:
    rhythm = Rhythm(fps)
    for moment in itertools.accumulate(gaps):
        rhythm.beat(moment)
    assert 500_000_000 <= rhythm.stale_after_ns <= 3_600_000_000_000


@pytest.mark.parametrize("colour", [(0, 0, 0), (0, 135, 0), (0, 77, 0)])
def test_what_an_empty_buffer_looks_like_is_filler(colour: tuple[int, int, int]) -> None:
    blank = np.full((48, 64, 3), colour, dtype=np.uint8)
    assert FillerFilter().is_filler(blank)
    blank[13, 21, 1] += 1
    assert not FillerFilter().is_filler(blank)
