"""A hundred failures of one camera in one run: all are recovered from, nothing is shown wrong or left behind."""

import gc
import itertools
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera_server import Answer, Camera, jpeg, part, read, serve

from edgex_runtime.capture import Capture
from edgex_runtime.clock import SystemClock
from edgex_runtime.errors import EdgexError
from edgex_runtime.freshness import State
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Source

pytest.importorskip("simplejpeg", reason="pip install 'edgex[jpeg]'")

SIZES = ((256, 96), (128, 64), (320, 240))
WHOLE_BEFORE_A_FAILURE = 3
PERIOD_S = 0.005
BLACK: bytes = cv2.imencode(".jpg", np.zeros((96, 256, 3), dtype=np.uint8))[1].tobytes()


class QuickPauses(np.random.Generator):
    """The pauses between two tries, a twentieth as long."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, low: float, high: float) -> float:  # type: ignore[override]
        return super().uniform(low, high) / 20


@dataclass
class FailingCamera:
    """Sends a few whole pictures for each request, then fails in the next way of a shuffled hundred.

    Attributes:
        whole: Numbers of the pictures that were sent whole, and their size.
        ended: Set when the test is over.
        killed: Set when the server is to be killed.
    """

    failures: list[str]
    whole: dict[int, tuple[int, int]] = field(default_factory=dict)
    happened: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    killed: threading.Event = field(default_factory=threading.Event)
    count: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def answer(self, _: str) -> Answer:
        """One connection."""
        if not self.failures:
            return Answer(body=self.forever)
        kind = self.failures.pop()
        self.happened.append(kind)
        if kind == "log-in page":
            return Answer(body=lambda: iter([b"<html>booting</html>"]), kind="text/html")
        if kind == "busy":
            return Answer(body=lambda: iter([b""]), code=503)
        return Answer(body=partial(self.fail, kind))

    def pictures(self, count: int) -> Iterator[bytes]:
        size = SIZES[len(self.happened) % len(SIZES)]
        for _ in range(count):
            # Of its own: the last connection's thread may still be sending.
            number = next(self.count)
            data = jpeg(number, size)
            self.whole[number] = size
            yield part(data, length=len(data))
            time.sleep(PERIOD_S)

    def forever(self) -> Iterator[bytes]:
        while not self.ended.is_set():
            yield from self.pictures(1)

    def fail(self, kind: str) -> Iterator[bytes]:
        yield from self.pictures(WHOLE_BEFORE_A_FAILURE)
        data = jpeg(next(self.count), SIZES[0])
        half = data[: len(data) // 2]
        if kind == "half a picture":
            yield part(half, length=len(data))[:-2]
        elif kind == "half a picture, closed":
            yield part(half + b"\xff\xd9", length=len(half) + 2)
        elif kind == "garbage":
            yield part(random.Random(len(self.whole)).randbytes(3000)) + random.Random(-1).randbytes(3000)
        elif kind == "black":
            yield part(BLACK, length=len(BLACK))
        elif kind == "stall":
            self.ended.wait(0.4)
        elif kind == "killed":
            self.killed.set()


KINDS = (
    ["killed"] * 10
    + ["stall"] * 15
    + ["hangs up"] * 15
    + ["half a picture"] * 15
    + ["half a picture, closed"] * 15
    + ["garbage"] * 10
    + ["black"] * 5
    + ["log-in page"] * 10
    + ["busy"] * 5
)


@dataclass
class Belongings:
    """What a process holds."""

    threads: set[str]
    descriptors: int
    resident_bytes: int


def belongings() -> Belongings:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Belongings(
        threads={thread.name for thread in threading.enumerate()},
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
        resident_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
    )


@dataclass
class Run:
    """What was seen in one run."""

    states: set[State] = field(default_factory=set)
    seen: list[int] = field(default_factory=list)
    resident_bytes: list[int] = field(default_factory=list)


def run(camera: FailingCamera, start: Callable[[ExitStack, int], Camera]) -> Run:
    """Take frames until the camera has failed in every way and lives on; restart the server where it was killed."""
    outcome = Run()
    with ExitStack() as servers:
        port = int(start(servers, 0).url.rpartition(":")[2])
        reopen = partial(open_source, f"http://127.0.0.1:{port}/video#timeout=150ms")
        source = _open(reopen)
        with Capture(source, clock=SystemClock(), reopen=reopen, reconnect_s=20, rng=QuickPauses()) as capture:
            calm = 0
            while calm < 10:
                if camera.killed.is_set():
                    servers.close()
                    camera.killed.clear()
                    start(servers, port)
                item = capture.take(timeout_s=0.01)
                outcome.states.add(capture.state())
                if isinstance(item, Frame):
                    number = read(item.image)
                    assert number is not None, "a picture that is not whole was shown"
                    assert camera.whole[number] == item.image.shape[1::-1], "a picture was shown in another one's size"
                    outcome.seen.append(number)
                    if len(outcome.seen) % 10 == 0:
                        outcome.resident_bytes.append(belongings().resident_bytes)
                    calm += not camera.failures
        camera.ended.set()
    return outcome


def _open(reopen: Callable[[], Source]) -> Source:
    while True:
        try:
            return reopen()
        except EdgexError:
            continue


def check(kinds: list[str]) -> list[int]:
    """Run through all `kinds`; returns what the process held in memory on the way."""
    failures = list(kinds)
    random.Random(0).shuffle(failures)
    camera = FailingCamera(failures=failures)
    before = belongings()
    outcome = run(camera, lambda stack, port: stack.enter_context(serve(camera.answer, port=port)))
    after = belongings()
    assert sorted(camera.happened) == sorted(kinds)
    assert outcome.seen == sorted(set(outcome.seen)), "an old picture was shown as a new one"
    # Each connection that showed something showed it: every failure was recovered from.
    assert len(outcome.seen) >= len(kinds) - kinds.count("log-in page") - kinds.count("busy")
    assert {State.LIVE, State.RECONNECTING} <= outcome.states
    assert after.threads == before.threads
    assert after.descriptors == before.descriptors
    return outcome.resident_bytes


@pytest.fixture(autouse=True)
def no_logs(caplog: pytest.LogCaptureFixture) -> None:
    """pytest keeps every record; memory is what is measured here."""
    caplog.set_level(logging.CRITICAL, logger="edgex_runtime.capture")


def test_a_hundred_failures_are_all_recovered_from() -> None:
    assert len(KINDS) == 100
    held = check(KINDS)
    assert held[-1] - held[len(held) // 4] < 8 << 20


@pytest.mark.slow
def test_a_thousand_failures_leave_memory_as_it_was() -> None:
    held = np.array(check(KINDS * 10), dtype=np.float64)
    steady = held[len(held) // 4 :]
    slope_bytes = np.polyfit(np.arange(steady.size), steady, 1)[0] * steady.size
    assert abs(slope_bytes) < 5 << 20
