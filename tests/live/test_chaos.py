"""The chaos kit of test://: each fault comes when it was asked for, and none of it is ever classified."""

import itertools
import time
from functools import partial

import numpy as np
import pytest

from edgex_runtime.capture import Capture
from edgex_runtime.clock import FakeClock, SystemClock
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.freshness import State
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source, Unreadable


def items_of(uri: str, clock: FakeClock | None = None) -> list[Frame | Unreadable]:
    source = open_source(uri, clock=clock or FakeClock())
    return list(iter(source.read, None))


def test_the_size_changes_when_it_was_asked_to() -> None:
    items = items_of("test://shapes?size=64x48&fps=10&frames=80&resize=2s")
    shapes = [item.image.shape[:2] for item in items if isinstance(item, Frame)]
    assert shapes == [(48, 64)] * 20 + [(24, 32)] * 20 + [(48, 36)] * 20 + [(48, 64)] * 20


def test_the_share_of_pictures_that_was_asked_for_arrives_damaged() -> None:
    items = items_of("test://shapes?size=64x48&frames=400&corrupt=25%&seed=3")
    damaged = [item for item in items if isinstance(item, Unreadable)]
    # 400 draws of p = 0.25: a standard deviation is 8.7; five of them.
    assert len(damaged) == pytest.approx(100, abs=44)
    assert all(" want a " in item.error for item in damaged)
    assert [item.index for item in items] == list(range(400))


def test_black_and_silence_take_turns() -> None:
    items = items_of("test://shapes?size=64x48&fps=10&frames=120&black=1s&stall=2s&every=3s")
    black = [item.index for item in items if isinstance(item, Frame) and not item.image.any()]
    assert black == [*range(30, 40), *range(90, 100)]
    missing = set(range(120)) - {item.index for item in items}
    assert missing == set(range(60, 80))


def test_a_disconnected_camera_is_lost_and_refuses_until_it_is_time() -> None:
    clock = FakeClock()
    uri = "test://shapes?size=64x48&fps=10&disconnect=2s&every=3s&seed=77"
    source = open_source(uri, clock=clock)
    for _ in range(30):
        assert isinstance(source.read(), Frame)
    with pytest.raises(SourceLostError, match="as asked for"):
        source.read()
    clock.sleep(1.9)
    with pytest.raises(SourceLostError, match=r"another 0\.1 s"):
        open_source(uri, clock=clock)
    clock.sleep(0.2)
    assert isinstance(open_source(uri, clock=clock).read(), Frame)


def test_a_camera_on_another_clock_is_not_disconnected_with_it() -> None:
    clock = FakeClock()
    uri = "test://shapes?size=64x48&fps=10&disconnect=2s&every=3s&seed=78"
    source = open_source(uri, clock=clock)
    with pytest.raises(SourceLostError):
        list(iter(source.read, None))
    open_source(uri, clock=FakeClock()).close()
    assert SystemClock() == SystemClock()


def test_the_same_seed_fails_in_the_same_way_and_another_does_not() -> None:
    uri = "test://shapes?size=64x48&frames=200&corrupt=20%&drop=20%&seed={}"
    first, again, other = (
        [(item.index, isinstance(item, Unreadable)) for item in items_of(uri.format(seed))] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("fault", ["black", "stall", "disconnect"])
def test_faults_that_never_end_are_refused(fault: str) -> None:
    with pytest.raises(BadInputError, match="less than every=3s"):
        open_source(f"test://shapes?{fault}=3s&every=3s")


def test_of_all_faults_together_only_whole_new_pictures_are_taken_and_every_loss_is_recovered() -> None:
    uri = (
        "test://shapes?size=96x64&fps=120&corrupt=10%&black=100ms&stall=600ms&disconnect=150ms&resize=170ms&every=700ms"
    )
    states, sizes, taken = set(), set(), []
    clock = SystemClock()
    reopen = partial(open_source, uri)
    with Capture(reopen(), clock=clock, reopen=reopen) as capture:
        end_ns = clock.now_ns() + 6_000_000_000
        while clock.now_ns() < end_ns and capture.reconnects < 1:
            item = capture.take(timeout_s=0.02)
            states.add(capture.state())
            if isinstance(item, Frame):
                taken.append(item)
                sizes.add(item.image.shape)
        assert capture.damaged > 0
    assert states == {State.LIVE, State.STALE, State.RECONNECTING}
    assert len(sizes) == 3
    assert all(item.image.any() for item in taken)
    assert not any(np.array_equal(one.image, other.image) for one, other in itertools.pairwise(taken))
    assert [item.index for item in taken] == sorted({item.index for item in taken})


def test_a_camera_that_waits_for_its_next_picture_can_be_closed_at_once() -> None:
    source: Source = open_source("test://shapes?size=64x48&fps=0.01")
    started = time.monotonic()
    with Capture(source, clock=SystemClock()) as capture:
        assert isinstance(capture.take(timeout_s=5), Frame)
    assert time.monotonic() - started < 0.8
    assert source.read() is None
