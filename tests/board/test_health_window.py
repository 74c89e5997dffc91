"""A release that makes its board throttle is not kept; one that finds it so is not to blame."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgex_devices.agent.config import Alarm, Health
from edgex_devices.agent.health import watch
from edgex_runtime.errors import DeployError

WINDOW = Health(start_s=20, window_s=0.5, max_age_ms=60_000)


@contextmanager
def app(file: Path, throttled: Callable[[int], bool | None]) -> Iterator[None]:
    """What stands in for a release: frames every 50 ms, and what it reads of the board at each."""
    done, started_ns = threading.Event(), time.monotonic_ns()

    def write() -> None:
        frames = 0
        while not done.wait(0.05):
            frames += 1
            record = {"pid": 1, "started_ns": started_ns, "at_ns": time.monotonic_ns(), "frames": frames}
            record |= {"state": "LIVE", "age_ms": 5.0, "label": "star", "throttled": throttled(frames)}
            file.with_suffix(".new").write_text(json.dumps(record))
            file.with_suffix(".new").rename(file)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "throttled", [lambda frames: False, lambda frames: True, lambda frames: None, lambda frames: frames < 3]
)
def test_a_board_that_does_not_throttle_more_than_before_keeps_its_release(tmp_path: Path, throttled) -> None:
    since_ns = time.monotonic_ns()
    with app(tmp_path / "health.json", throttled):
        figures = watch(tmp_path / "health.json", WINDOW, since_ns, lambda: True, ())
    assert figures.frames > 0
    assert figures.label == "star"


def test_throttling_that_began_within_the_window_ends_it(tmp_path: Path) -> None:
    since_ns = time.monotonic_ns()
    with app(tmp_path / "health.json", lambda frames: frames > 8), pytest.raises(DeployError) as caught:
        watch(tmp_path / "health.json", WINDOW, since_ns, lambda: True, ())
    assert "the board throttles since the release runs (by what the app reads of it)" in str(caught.value)


@pytest.mark.parametrize(("word", "raised"), [("throttled=0x50000", False), ("throttled=0x50004", True)])
def test_an_alarm_of_the_profile_is_what_happens_now(tmp_path: Path, word: str, raised: bool) -> None:
    """A Raspberry Pi's upper bits say what has been since its boot."""
    (tmp_path / "get_throttled").write_text(word)
    alarm = Alarm(file=os.fspath(tmp_path / "get_throttled"))
    since_ns = time.monotonic_ns()
    with app(tmp_path / "health.json", lambda frames: None):
        if raised:
            with pytest.raises(DeployError, match=r"throttles since the release runs \(.*get_throttled\)"):
                watch(tmp_path / "health.json", WINDOW, since_ns, lambda: True, (alarm,))
        else:
            watch(tmp_path / "health.json", WINDOW, since_ns, lambda: True, (alarm,))
