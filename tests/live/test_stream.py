"""`model.stream`: an iterator with a run's guarantees, closed by leaving it, by `with`, or by another thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgex_runtime.control import Classifier
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.live import LiveOptions, LiveResult
from edgex_runtime.sources.fake import FakeSource
from edgex_runtime.sources.source import Frame, SourceInfo
from edgex_runtime.stream import Stream

CAMERA = "test://shapes?size=64x48&fps=100"
TIMEOUT_S = 10.0


def test_with_closes_the_source_when_the_loop_is_left(model: Classifier, frame: Callable[..., Frame]) -> None:
    source = FakeSource((frame(index) for index in range(10**9)), SourceInfo(name="film", live=False, fps=30.0))
    with Stream(model, source, LiveOptions()) as results:
        for result in results:
            if result.index == 3:
                break
    assert source.closed


def test_a_stream_that_nobody_read_closes_its_source_too(model: Classifier, frame: Callable[..., Frame]) -> None:
    source = FakeSource([frame(0)], SourceInfo(name="film", live=False, fps=30.0))
    Stream(model, source, LiveOptions()).close()
    assert source.closed


def test_another_thread_ends_a_stream_that_waits(model: Classifier, frame: Callable[..., Frame]) -> None:
    released = threading.Event()

    def frames() -> Iterator[Frame]:
        yield frame(0)
        released.wait(TIMEOUT_S)

    stream = Stream(model, FakeSource(frames(), SourceInfo(name="camera", live=True, fps=30.0)), LiveOptions())
    next(stream)
    reader = threading.Thread(target=lambda: read.extend(stream))
    read: list[LiveResult] = []
    reader.start()
    releaser = threading.Timer(0.5, released.set)
    releaser.start()
    stream.close()
    reader.join(TIMEOUT_S)
    assert not reader.is_alive()
    assert all(result.index is None for result in read)
    releaser.join()


def test_a_closed_stream_is_at_its_end_and_may_be_closed_again(model: Classifier) -> None:
    stream = Stream(model, CAMERA, LiveOptions())
    next(stream)
    stream.close()
    stream.close()
    assert list(stream) == []


def test_asyncio_reads_a_stream_while_other_tasks_run(model: Classifier) -> None:
    async def read() -> tuple[list[int | None], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        ticking = asyncio.create_task(tick())
        async with Stream(model, CAMERA + "&frames=20", LiveOptions()) as results:
            indexes = [result.index async for result in results]
        ticking.cancel()
        return indexes, ticks

    indexes, ticks = asyncio.run(read())
    assert indexes == sorted(set(indexes), key=lambda index: index or 0)
    assert len(indexes) >= 10
    assert ticks >= 10


def test_several_sources_come_in_one_stream(model: Classifier, bar_video: Callable[..., Path]) -> None:
    paths = [str(bar_video(name, frames=8)) for name in ("left.avi", "right.avi")]
    results = list(Stream(model, paths, LiveOptions()))
    shown = [result for result in results if result.index is not None]
    for path in paths:
        of_path = [result.index for result in shown if path.endswith(result.source) or result.source == path]
        assert of_path == list(range(8))
    assert [result.state.value for result in results if result.index is None] == ["ENDED"], "of the first to end"


def test_a_path_and_a_webcams_number_name_a_source(model: Classifier, bar_video: Callable[..., Path]) -> None:
    with Stream(model, bar_video(frames=4), LiveOptions()) as results:
        assert [result.index for result in results] == [0, 1, 2, 3]
    with pytest.raises(SourceLostError, match="/dev/video97"):
        Stream(model, 97, LiveOptions())


def test_a_source_that_cannot_be_opened_closes_those_before_it(model: Classifier, frame: Callable[..., Frame]) -> None:
    source = FakeSource([frame(0)], SourceInfo(name="film", live=False, fps=30.0))
    with pytest.raises(BadInputError, match="no such file"):
        Stream(model, [source, "missing.mp4"], LiveOptions())
    assert source.closed


def test_a_loss_reaches_whoever_reads(model: Classifier, frame: Callable[..., Frame]) -> None:
    source = FakeSource([frame(0), SourceLostError("gone")], SourceInfo(name="camera", live=True, fps=30.0))
    stream = Stream(model, source, LiveOptions())
    with pytest.raises(SourceLostError, match="gone"):
        list(stream)


def test_no_source_is_an_error(model: Classifier) -> None:
    with pytest.raises(BadInputError, match="one source or more"):
        Stream(model, [], LiveOptions())
