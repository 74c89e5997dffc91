"""The watchdog is fed by frames: what systemd hears on its socket, and what a deploy reads in the file."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgex_runtime.clock import FakeClock
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.sinks.registry import open_sink
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.watchdog import Watchdog


def result(state: State = State.LIVE, *, label: str | None = "cat", age_ms: float = 12.0) -> LiveResult:
    return LiveResult(
        state=state, name="fake", at_ns=0, age_ms=age_ms, dropped=0, index=0 if label else None, label=label
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


def test_is_a_sink_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, systemd: Systemd) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    from edgex_runtime.sinks.registry import Surroundings
    from edgex_runtime.sources.source import SourceInfo

    surroundings = Surroundings(source=SourceInfo(name="fake", live=True, fps=20.0))
    sink = open_sink(f"watchdog://{tmp_path}/health.json", surroundings)
    sink.write(None, result())
    sink.close()
    assert [message.split("\n")[0] for message in systemd.heard()] == ["READY=1", "STOPPING=1"]
    with pytest.raises(BadInputError, match="want a file in a folder that exists"):
        open_sink("watchdog:///nowhere/at/all.json", surroundings)
