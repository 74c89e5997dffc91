"""A sink of its own thread: nobody waits for a slow one, nobody loses what matters, and its errors arrive."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgex_runtime.control import Control
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.sinks.address import parse_address
from edgex_runtime.sinks.fake import FakeSink
from edgex_runtime.sinks.queued import CLOSE_S, QueuedSink, QueueOptions, close_together
from edgex_runtime.sinks.registry import Surroundings, open_queued
from edgex_runtime.sinks.sink import Event, LiveResult
from edgex_runtime.sources.source import Frame, SourceInfo

MakeFrame = Callable[..., Frame]
LIVE = SourceInfo(name="camera", live=True, fps=10.0)
FILE = SourceInfo(name="film.mp4", live=False, fps=12.5)
TIMEOUT_S = 20.0


class GatedSink(FakeSink):
    """Takes a result only when it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Event()

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        self.entered.set()
        assert self.gate.wait(TIMEOUT_S)
        super().write(frame, result)


def result(index: int | None, *, state: State = State.LIVE, events: tuple[Event, ...] = ()) -> LiveResult:
    return LiveResult(state=state, name="x", at_ns=0, age_ms=1.0, dropped=0, index=index, source="door", events=events)


def let_go(*sinks: GatedSink) -> None:
    """Free sinks that were left behind, and see their threads end."""
    for sink in sinks:
        sink.gate.set()
    for thread in threading.enumerate():
        if thread.name.startswith("edgex-sink"):
            thread.join(TIMEOUT_S)


def queue(sink: FakeSink, *, waits: bool = False, capacity: int = 4, **options: object) -> QueuedSink:
    return QueuedSink(sink, name="it", options=QueueOptions(capacity=capacity, waits=waits, **options))  # type: ignore[arg-type]


def indices(sink: FakeSink) -> list[int | None]:
    return [one.index for one in sink.results]


def test_results_reach_the_sink_in_order_with_their_pictures(frame: MakeFrame) -> None:
    inner = FakeSink()
    queued = queue(inner, waits=True)
    frames = [frame(index) for index in range(50)]
    for one in frames:
        queued.write(one, result(one.index))
    queued.close()
    assert indices(inner) == list(range(50))
    assert [id(one) for one in inner.frames] == [id(one) for one in frames]
    assert inner.closed
    assert queued.figures().written == 50
    assert (queued.figures().median_ms or 0) > 0


def test_old_results_give_way_to_the_newest_when_the_sink_is_stuck() -> None:
    inner = GatedSink()
    queued = queue(inner)
    queued.write(None, result(0))
    assert inner.entered.wait(TIMEOUT_S)
    start = time.perf_counter()
    for index in range(1, 1000):
        queued.write(None, result(index))
    assert time.perf_counter() - start < 1
    assert queued.dropped == 996
    inner.gate.set()
    queued.close()
    assert indices(inner) == [0, 997, 998, 999]


def test_no_more_pictures_are_held_than_the_queue_is_long(frame: MakeFrame) -> None:
    inner = GatedSink()
    queued = queue(inner, capacity=3)
    alive = set[int]()

    class Watched(type(frame(0).image)):  # type: ignore[misc]
        def __del__(self) -> None:
            alive.discard(id(self))

    for index in range(100):
        image = frame(index).image.view(Watched)
        alive.add(id(image))
        queued.write(Frame(image=image, index=index, captured_ns=0, name="x"), result(index))
        if index == 0:
            assert inner.entered.wait(TIMEOUT_S)
    del image
    held = len(alive)
    inner.gate.set()
    queued.close()
    assert held == 3


def test_a_sink_that_does_not_look_at_pictures_holds_none(frame: MakeFrame) -> None:
    inner = FakeSink()
    queued = queue(inner, pictures=False)
    queued.write(frame(0), result(0))
    queued.close()
    assert inner.frames == [None]


def test_changes_of_state_and_events_outlast_plain_results() -> None:
    inner = GatedSink()
    queued = queue(inner, capacity=4)
    queued.write(None, result(0))
    assert inner.entered.wait(TIMEOUT_S)
    appeared = (Event(kind="appeared", label="cat"),)
    queued.write(None, result(1, events=appeared))
    queued.write(None, result(None, state=State.STALE))
    for _ in range(50):
        queued.write(None, result(None, state=State.STALE))
    queued.write(None, result(9))  # LIVE again
    for index in range(10, 60):
        queued.write(None, result(index))
    inner.gate.set()
    queued.close()
    assert [(one.index, one.state.value) for one in inner.results] == [
        (0, "LIVE"),
        (1, "LIVE"),
        (None, "STALE"),
        (9, "LIVE"),
    ]
    assert inner.results[1].events == appeared


def test_of_too_many_events_the_newest_stay() -> None:
    inner = GatedSink()
    queued = queue(inner, capacity=3)
    queued.write(None, result(0))
    assert inner.entered.wait(TIMEOUT_S)
    for index in range(1, 20):
        queued.write(None, result(index, events=(Event(kind="left", label="cat"),)))
    inner.gate.set()
    queued.close()
    assert indices(inner) == [0, 18, 19]


def test_where_every_result_must_arrive_the_caller_waits() -> None:
    inner = GatedSink()
    queued = queue(inner, waits=True, capacity=2)
    writer = threading.Thread(target=lambda: [queued.write(None, result(index)) for index in range(20)])
    writer.start()
    assert inner.entered.wait(TIMEOUT_S)
    writer.join(0.1)
    assert writer.is_alive()
    inner.gate.set()
    writer.join(TIMEOUT_S)
    queued.close()
    assert indices(inner) == list(range(20))
    assert queued.dropped == 0


def test_ctrl_c_ends_the_waiting_for_a_sink_that_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    control, inner = Control(), GatedSink()
    queued = queue(inner, waits=True, capacity=2, urgent=lambda: control.is_stopped)
    threading.Timer(0.1, control.stop).start()
    start = time.perf_counter()
    for index in range(5):
        queued.write(None, result(index))
    queued.close()
    assert time.perf_counter() - start < CLOSE_S + 1
    assert "left behind" in caplog.text
    let_go(inner)


@pytest.mark.parametrize("error", [BrokenPipeError("gone"), BadInputError("disk is full")])
def test_what_the_sink_raises_is_raised_at_the_next_result(error: Exception) -> None:
    inner = FakeSink(fail_at=1, error=error)
    queued = queue(inner, waits=True)
    with pytest.raises(type(error), match=str(error)):  # noqa: PT012 - which of them raises is not decided
        for index in range(1000):
            queued.write(None, result(index))
    queued.close()
    assert indices(inner) == [0]
    assert inner.closed


def test_what_the_sink_raises_last_is_raised_when_it_is_closed() -> None:
    inner = FakeSink(fail_at=0, error=BadInputError("disk is full"))
    queued = queue(inner)
    queued.write(None, result(0))
    with pytest.raises(BadInputError, match="disk is full"):
        queued.close()
    assert inner.closed


def test_a_file_that_cannot_be_finished_says_so_when_it_is_closed(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").symlink_to("/dev/full")
    queued = open_queued(str(tmp_path / "out.jsonl"), Surroundings(source=FILE))
    queued.write(None, result(0))
    with pytest.raises(BadInputError, match="No space left"):
        queued.close()


def test_dead_sinks_are_left_behind_together_within_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    inners = [GatedSink() for _ in range(3)]
    queues = [queue(inner) for inner in inners]
    for queued in queues:
        queued.write(None, result(0))
    for inner in inners:
        assert inner.entered.wait(TIMEOUT_S)
    start = time.perf_counter()
    with caplog.at_level(logging.WARNING):
        close_together(queues)
    assert time.perf_counter() - start < CLOSE_S + 0.5
    assert caplog.text.count("left behind") == 3
    assert all(queued.figures().left_behind for queued in queues)
    let_go(*inners)


def test_all_sinks_are_closed_also_when_one_of_them_fails() -> None:
    inners = [FakeSink(), FakeSink(fail_at=0, error=BadInputError("full")), FakeSink()]
    queues = [queue(inner) for inner in inners]
    for queued in queues:
        queued.write(None, result(0))
    with pytest.raises(BadInputError, match="full"):
        close_together(queues)
    assert all(inner.closed for inner in inners)


def test_a_sink_that_never_got_a_result_is_closed_once(caplog: pytest.LogCaptureFixture) -> None:
    inner = FakeSink()
    queued = queue(inner)
    queued.close()
    queued.close()
    queued.write(None, result(0))
    assert inner.closed
    assert inner.results == []
    assert queued.dropped == 1
    assert not caplog.text


@pytest.mark.parametrize(("source", "waits"), [(FILE, True), (LIVE, False)])
def test_files_get_every_result_of_a_film_and_never_hold_up_a_camera(
    tmp_path: Path, source: SourceInfo, waits: bool
) -> None:
    around = Surroundings(source=source, sources=(FILE, source))
    queued = open_queued(str(tmp_path / "out.jsonl"), around)
    for index in range(3000):
        queued.write(None, replace(result(index), name="x" * 500))
    queued.close()
    lines = len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert lines + queued.dropped == 3000
    assert around.queues == [queued]
    assert not waits or queued.dropped == 0


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mqtt:///topic", "no host"),
        ("mqtt://me:sesame/x@broker/topic", "%2F"),
        ("mqtt://me:sesame@broker:99999/topic", "1 to 65535"),
        ("mqtt://me:sesame@broker/topic?evry=3s", "did you mean 'every'"),
        ("mqtt://me:sesame@broker/topic#sesame", "%23"),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_its_password(uri: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as refused:
        parse_address(uri, port=1883, known={"every": float})
    assert "sesame" not in str(refused.value)


def test_an_address_keeps_its_password_out_of_sight() -> None:
    address = parse_address("mqtt://me:p%40ss%2Fword@[::1]:1884/hall?every=3", port=1883, known={"every": float})
    assert (address.host, address.port, address.path, address.options) == ("::1", 1884, "/hall", {"every": 3.0})
    assert (address.username, address.password) == ("me", "p@ss/word")
    assert "word" not in repr(address)
    assert address.shown == "mqtt://***@[::1]:1884/hall?every=3"
