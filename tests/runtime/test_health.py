"""What a board tells of temperature, power and throttling: read from folders that stand for boards."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_boards import JETSON, LAPTOP, RASPBERRY_PI, write_board
from hypothesis import given, settings
from hypothesis import strategies as st

from edgex_runtime.clock import FakeClock
from edgex_runtime.health import PERIOD_S, REASONS, BoardHealth, HealthMonitor, Sensor, Throttle

BITS = ".commands/vcgencmd get_throttled"
COUNT = "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def read(tmp_path: Path, clock: FakeClock) -> Callable[..., BoardHealth]:
    """Change some of the board's files, and read them when it is time to."""
    monitor = HealthMonitor(tmp_path, clock=clock)

    def read_it(files: dict[str, str]) -> BoardHealth:
        write_board(tmp_path, files)
        clock.sleep(PERIOD_S)
        return monitor.read()

    return read_it


def slowed(health: BoardHealth) -> tuple[set[str], set[str]]:
    """What slows it down now, and what has since the start."""
    return {one.reason for one in health.throttles if one.now}, {one.reason for one in health.throttles if one.before}


def test_a_raspberry_pi_tells_each_zone_once_and_that_nothing_slows_it_down(read: Callable[..., BoardHealth]) -> None:
    health = read(RASPBERRY_PI)
    assert health.temperatures == (Sensor(name="cpu-thermal", value=61.25),)
    assert slowed(health) == (set(), set())
    assert health.is_throttled is False, "a fan that turns is not throttling"
    assert (health.clock_limit_mhz, health.clock_max_mhz) == (2400, 2400)
    assert health.powers == (), "it does not measure what it takes"


@pytest.mark.parametrize(
    ("bits", "now", "before"),
    [
        ("0x50000", set(), {"voltage", "throttled"}),
        ("0x50005", {"voltage", "throttled"}, {"voltage", "throttled"}),
        ("0xa000a", {"capped", "soft_limit"}, {"capped", "soft_limit"}),
    ],
)
def test_a_raspberry_pis_bits_say_what_slows_it_down_and_what_did(
    read: Callable[..., BoardHealth], bits: str, now: set[str], before: set[str]
) -> None:
    assert slowed(read({**RASPBERRY_PI, BITS: f"throttled={bits}\n"})) == (now, before)


def test_the_kernels_file_of_the_bits_does_where_the_command_may_not_be_run(read: Callable[..., BoardHealth]) -> None:
    file = "sys/devices/platform/soc/soc:firmware/get_throttled"
    assert slowed(read({**RASPBERRY_PI, file: "50004\n"})) == ({"throttled"}, {"voltage", "throttled"})


def test_without_either_its_alarm_of_the_voltage_is_left(read: Callable[..., BoardHealth]) -> None:
    files = {**RASPBERRY_PI, BITS: ""}
    assert read(files).throttles == (Throttle(reason="voltage", now=False),)
    assert read({"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"}).is_throttled


def test_a_jetson_tells_its_rails_and_what_its_protection_does(read: Callable[..., BoardHealth]) -> None:
    health = read(JETSON)
    assert [(one.name, one.value) for one in health.powers] == [("VDD_IN", 9.28), ("VDD_CPU_GPU_CV", 2.0)]
    assert [one.name for one in health.temperatures] == ["cpu-thermal", "gpu-thermal"]
    assert health.hottest == Sensor(name="cpu-thermal", value=63.625)
    assert slowed(health) == (set(), {"current"}), "it was counted before this run began"
    assert (health.clock_limit_mhz, health.clock_max_mhz) == (pytest.approx(1113.6), 1510.4)
    assert slowed(read({"sys/class/hwmon/hwmon3/oc3_event_cnt": "5\n"})) == ({"current"}, {"current"})
    assert slowed(read({})) == (set(), {"current"})
    assert slowed(read({"sys/class/thermal/cooling_device1/cur_state": "1\n"}))[0] == {"heat"}


def test_an_intel_cpu_is_throttled_when_its_counters_grow(read: Callable[..., BoardHealth]) -> None:
    health = read(LAPTOP)
    assert [one.name for one in health.temperatures] == ["x86_pkg_temp", "coretemp Package id 0", "nvme Composite"]
    assert health.powers == (Sensor(name="ina226 1", value=10.75),), "by the chip's own sum, and once"
    assert slowed(health) == (set(), {"heat"})
    assert slowed(read({COUNT: "3\n"}))[0] == {"heat"}
    assert slowed(read({}))[0] == set()


def test_what_a_machine_does_not_tell_is_unknown_and_not_zero(read: Callable[..., BoardHealth]) -> None:
    health = read({})
    assert health == BoardHealth()
    assert (health.is_known, health.hottest, health.is_throttled) == (False, None, None)


def test_sensors_of_one_name_are_told_apart_and_not_too_many(read: Callable[..., BoardHealth]) -> None:
    zones = {}
    for number in range(40):
        zones[f"sys/class/thermal/thermal_zone{number}/type"] = "acpitz\n" if number < 12 else f"zone-{number}\n"
        zones[f"sys/class/thermal/thermal_zone{number}/temp"] = f"{number}000\n"
    names = [one.name for one in read(zones).temperatures]
    assert names[:12] == ["acpitz", *(f"acpitz {number}" for number in range(2, 13))]
    assert len(names) == len(set(names)) == 32


def test_it_is_read_every_few_seconds_however_often_it_is_asked(tmp_path: Path, clock: FakeClock) -> None:
    monitor = HealthMonitor(write_board(tmp_path, RASPBERRY_PI), clock=clock)
    before = monitor.read()
    write_board(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "80000\n"})
    clock.sleep(PERIOD_S - 0.1)
    assert monitor.read() is before
    clock.sleep(0.2)
    assert monitor.read().hottest == Sensor(name="cpu-thermal", value=80)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([b"", b"-274", b"-274000", b"9" * 99, b"\xff\0\n", "²".encode(), b"NaN"]), min_size=9))
def test_what_files_hold_is_never_an_error(tmp_path_factory: pytest.TempPathFactory, texts: list[bytes]) -> None:
    root = tmp_path_factory.mktemp("board")
    for index, name in enumerate({**RASPBERRY_PI, **JETSON, **LAPTOP}):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(texts[index % len(texts)])
    health = HealthMonitor(root).read()
    assert health.clock_max_mhz is None
    assert all(one.name and -60 < one.value < 200 for one in health.temperatures)


def test_this_machine_is_read_without_an_error() -> None:
    health = HealthMonitor().read()
    assert all(-60 < one.value < 200 for one in health.temperatures)
    assert {one.reason for one in health.throttles} <= set(REASONS)


@pytest.mark.parametrize(
    ("does", "bits", "calls"),
    [("echo throttled=0x50004", {"throttled"}, 5), ("exit 1", set(), 3), ("exec sleep 60", set(), 3)],
    ids=["answers", "may not", "hangs"],
)
def test_the_firmwares_command_is_run_and_not_for_ever_where_it_does_not_answer(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, does: str, bits: set[str], calls: int
) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text(f"#!/bin/sh\necho $1 >> {tmp_path}/calls\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monitor = HealthMonitor(clock=clock)
    began = time.monotonic()
    for _ in range(5):
        clock.sleep(PERIOD_S)
        assert slowed(monitor.read())[0] >= bits
    assert time.monotonic() - began < 20
    assert (tmp_path / "calls").read_text().split() == ["get_throttled"] * calls
