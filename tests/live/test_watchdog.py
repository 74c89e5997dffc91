"""The watchdog is fed by frames: what systemd hears on its socket, and what a deploy reads in the file."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_boards import RASPBERRY_PI, write_board

from edgex_runtime.clock import FakeClock
from edgex_runtime.control import Classifier
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.health import HealthMonitor
from edgex_runtime.live import LiveOptions, open_inputs, run_live
from edgex_runtime.sinks.registry import Surroundings, open_sink
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import SourceInfo
from edgex_runtime.watchdog import Watchdog

DOOR, YARD = (SourceInfo(name=name, live=True, fps=20.0) for name in ("door", "rtsp://me:sesame@yard/1"))
FILM = SourceInfo(name="film.mp4", live=False, fps=20.0)


def result(
    state: State = State.LIVE, *, label: str | None = "cat", age_ms: float | None = 12.0, source: str = ""
) -> LiveResult:
    return LiveResult(
        state=state,
        name="fake",
        at_ns=0,
        age_ms=age_ms,
        dropped=0,
        index=0 if label else None,
        label=label,
        source=source,
    )


class Systemd:
    """systemd's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        said = []
        while True:
            try:
                said.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return said


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listener = Systemd(tmp_path / "notify")
    yield listener
    listener.socket.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def watchdog(tmp_path: Path, systemd: Systemd, clock: FakeClock) -> Watchdog:
    return Watchdog(health=tmp_path / "health.json", socket_path=str(tmp_path / "notify"), clock=clock)


def test_is_ready_with_the_first_frame_and_fed_once_a_second(
    watchdog: Watchdog, systemd: Systemd, clock: FakeClock
) -> None:
    assert systemd.heard() == []
    for _ in range(25):
        watchdog.write(None, result())
        clock.sleep(0.1)
    said = systemd.heard()
    assert len(said) == 3
    assert all(message.startswith("READY=1\nWATCHDOG=1\nSTATUS=LIVE") for message in said)


def test_a_camera_that_hangs_starves_it(watchdog: Watchdog, systemd: Systemd, clock: FakeClock, tmp_path: Path) -> None:
    watchdog.write(None, result())
    systemd.heard()
    for _ in range(50):
        clock.sleep(0.2)
        watchdog.write(None, result(State.STALE, label=None, age_ms=900))
    said = systemd.heard()
    assert said == ["STATUS=STALE, 900 ms old, 1 frames"]
    record = json.loads((tmp_path / "health.json").read_text())
    assert (record["state"], record["frames"]) == ("STALE", 1)


def test_the_file_says_what_a_deploy_wants_to_know(watchdog: Watchdog, clock: FakeClock, tmp_path: Path) -> None:
    for _ in range(3):
        watchdog.write(None, result())
        clock.sleep(1.0)
    record = json.loads((tmp_path / "health.json").read_text())
    assert record["frames"] == 3
    assert (record["label"], record["age_ms"], record["state"]) == ("cat", 12.0, "LIVE")
    assert record["at_ns"] - record["started_ns"] == 2_000_000_000
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_says_that_the_end_is_meant(watchdog: Watchdog, systemd: Systemd) -> None:
    watchdog.close()
    assert systemd.heard() == ["STOPPING=1"]


def test_without_systemd_there_is_only_the_file(tmp_path: Path) -> None:
    alone = Watchdog(health=tmp_path / "health.json", socket_path="")
    alone.write(None, result())
    alone.close()
    assert (tmp_path / "health.json").exists()


def test_where_nobody_would_hear_it_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with pytest.raises(BadInputError, match=r"nobody listens: want systemd's socket .*, or a file"):
        open_sink("watchdog://", Surroundings(source=DOOR))


def test_is_a_sink_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, systemd: Systemd) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    surroundings = Surroundings(source=SourceInfo(name="fake", live=True, fps=20.0))
    sink = open_sink(f"watchdog://{tmp_path}/health.json", surroundings)
    sink.write(None, result())
    sink.close()
    assert [message.split("\n")[0] for message in systemd.heard()] == ["READY=1", "STOPPING=1"]
    with pytest.raises(BadInputError, match="want a file in a folder that exists"):
        open_sink("watchdog:///nowhere/at/all.json", surroundings)


@pytest.fixture
def watch(tmp_path: Path, systemd: Systemd, clock: FakeClock) -> Callable[..., Watchdog]:
    """(sources, limit_s=…) → a watchdog of several sources."""

    def make(*sources: SourceInfo, **options: Any) -> Watchdog:
        return Watchdog(
            health=tmp_path / "health.json",
            socket_path=str(tmp_path / "notify"),
            clock=clock,
            sources=sources,
            **options,
        )

    return make


def fed(systemd: Systemd) -> int:
    return sum("WATCHDOG=1" in message for message in systemd.heard())


def test_one_camera_of_two_that_hangs_starves_it(
    watch: Callable[..., Watchdog], systemd: Systemd, clock: FakeClock, tmp_path: Path
) -> None:
    watchdog = watch(DOOR, YARD)
    for _ in range(3):
        watchdog.write(None, result(source=DOOR.name))
        watchdog.write(None, result(source=YARD.name))
        clock.sleep(1)
    assert fed(systemd) == 2, "ready when both have given a frame"
    for _ in range(20):
        watchdog.write(None, result(State.STALE, label=None, source=YARD.name))
        watchdog.write(None, result(source=DOOR.name))
        clock.sleep(0.5)
    said = systemd.heard()
    assert not any("WATCHDOG=1" in message for message in said)
    assert said[-1].startswith("STATUS=STALE (rtsp://***@yard/1), 10012 ms old")
    record = json.loads((tmp_path / "health.json").read_text())
    assert (record["state"], record["age_ms"]) == ("STALE", 10012.0), "which a supervisor without systemd goes by"
    assert record["sources"]["rtsp://***@yard/1"] == {"state": "STALE", "frames": 3}
    watchdog.write(None, result(source=YARD.name))
    watchdog.write(None, result(source=DOOR.name))
    assert fed(systemd) == 1, "it is back"


@pytest.mark.parametrize("state", [State.RECONNECTING, State.LOST])
def test_a_camera_that_is_known_to_be_lost_does_not_end_the_others(
    watch: Callable[..., Watchdog], systemd: Systemd, clock: FakeClock, tmp_path: Path, state: State
) -> None:
    watchdog = watch(DOOR, YARD)
    for source in (DOOR, YARD):
        watchdog.write(None, result(source=source.name))
    systemd.heard()
    for _ in range(10):
        watchdog.write(None, result(state, label=None, source=YARD.name))
        clock.sleep(1)
        watchdog.write(None, result(source=DOOR.name))
    assert fed(systemd) == 10
    record = json.loads((tmp_path / "health.json").read_text())
    assert (record["state"], record["age_ms"]) == (state.value, pytest.approx(12))
    for _ in range(10):
        clock.sleep(1)
        watchdog.write(None, result(State.RECONNECTING, label=None, source=DOOR.name))
        watchdog.write(None, result(state, label=None, source=YARD.name))
    assert fed(systemd) == 0, "without any other there is nothing to go on for"


def test_a_camera_that_never_gives_a_frame_is_missed(
    watch: Callable[..., Watchdog], systemd: Systemd, clock: FakeClock
) -> None:
    watchdog = watch(DOOR, YARD)
    for _ in range(5):
        watchdog.write(None, result(source=DOOR.name))
        clock.sleep(1)
    assert not any("READY=1" in message for message in systemd.heard())


def test_a_film_that_has_ended_is_not_missed(
    watch: Callable[..., Watchdog], systemd: Systemd, clock: FakeClock
) -> None:
    watchdog = watch(FILM, DOOR)
    watchdog.write(None, result(source=FILM.name))
    for _ in range(5):
        clock.sleep(60)
        watchdog.write(None, result(source=DOOR.name))
    assert fed(systemd) == 5


def test_a_camera_of_which_nothing_is_heard_has_as_long_as_systemd_gives(
    watch: Callable[..., Watchdog], systemd: Systemd, clock: FakeClock
) -> None:
    watchdog = watch(DOOR, YARD, limit_s=3)
    watchdog.write(None, result(source=YARD.name))
    for _ in range(6):
        watchdog.write(None, result(source=DOOR.name))
        clock.sleep(1)
    assert ["WATCHDOG=1" in message for message in systemd.heard()] == [False, True, True, False, False, False]


def test_two_cameras_in_a_real_run_of_which_one_freezes(
    model: Classifier, tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    inputs = open_inputs(["test://shapes?fps=20", "test://shapes?fps=20&seed=2&freeze=60s"])
    infos = tuple(given.info for given in inputs)
    sink = open_sink(f"watchdog://{tmp_path}/health.json", Surroundings(source=infos[0], sources=infos))
    run_live(model, inputs, [sink], LiveOptions(duration_s=5.5))
    said = systemd.heard()
    assert "WATCHDOG=1" in "".join(said[:3])
    assert not any("WATCHDOG=1" in message for message in said[-2:])
    assert "STATUS=STALE (test://shapes (2))" in said[-2]


def test_the_file_tells_how_the_board_fares(watch: Callable[..., Watchdog], tmp_path: Path) -> None:
    bits = {".commands/vcgencmd get_throttled": "throttled=0x4\n"}
    board = HealthMonitor(write_board(tmp_path / "board", {**RASPBERRY_PI, **bits}))
    watch(DOOR, board=board).write(None, result())
    record = json.loads((tmp_path / "health.json").read_text())
    assert (record["celsius"], record["throttled"]) == (61.25, True)
    watch(DOOR, board=HealthMonitor(tmp_path / "none")).write(None, result())
    record = json.loads((tmp_path / "health.json").read_text())
    assert (record["celsius"], record["throttled"]) == (None, None), "unknown, and neither zero nor no"
