"""How the board fares beside the run: temperature, power, and whether it is being slowed down; read from Linux's files.

What a board does not tell is left out, and never an error: most machines tell a part of it. `devices` has facts of the
same kind for `edgex doctor`; this is what a run can read again and again, within its sandbox and without waiting.
"""

import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgex_runtime.clock import Clock, SystemClock

PERIOD_S = 5.0
"""Heat does not change faster, and reading costs a millisecond or two."""
COMMAND_S = 1.0
MAX_FAILURES = 3
"""A command that is not there, or may not be run, is asked so often and no more; a busy board may miss one second."""
MAX_SENSORS = 32
PLAUSIBLE = range(-60_000, 200_000)
"""Millidegrees: a sensor that is off may answer -274 °C, or anything."""

# Linux slows these down when a zone is too hot; a fan that turns slows down nothing
# (https://docs.kernel.org/driver-api/thermal/sysfs-api.html; "…-throttle-alert" is a Jetson's).
_SLOWED_BY_HEAT = re.compile(r".*cpufreq.*|.*devfreq.*|Processor|.*-throttle-alert")
# https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd; the same bits from 16 on: since the start.
_PI_BITS = ("voltage", "capped", "throttled", "soft_limit")
_SINCE_START = 16
REASONS = {
    "voltage": "the supply's voltage is too low",
    "capped": "the clock is capped",
    "throttled": "the CPU is throttled",
    "soft_limit": "the soft limit of the temperature is reached",
    "heat": "heat slows the processor down",
    "current": "the supply's voltage or current slows the processor down",
}
"""What slows a board down, and how a person is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One reading, in degrees Celsius or watts."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """One thing that may slow the board down, and of which it tells.

    Attributes:
        reason: Of `REASONS`.
        now: Whether it does; of what is only counted, whether it did since the reading before.
        before: Whether it has since the board was started; None where the board does not remember.
    """

    reason: str
    now: bool
    before: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardHealth:
    """What the board told; empty and None where it tells nothing.

    Attributes:
        temperatures: Each sensor's.
        powers: Each rail's: a Jetson's first is what the whole module takes, the others are parts of it.
        throttles: All that it tells of, whether or not it happens.
        clock_limit_mhz: What the CPU may run at: less than `clock_max_mhz` by a power mode, a setting or heat.
        clock_max_mhz: What it can.
    """

    temperatures: tuple[Sensor, ...] = ()
    powers: tuple[Sensor, ...] = ()
    throttles: tuple[Throttle, ...] = ()
    clock_limit_mhz: float | None = None
    clock_max_mhz: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.temperatures or self.powers or self.throttles)

    @property
    def hottest(self) -> Sensor | None:
        """The warmest sensor."""
        return max(self.temperatures, key=lambda sensor: sensor.value, default=None)

    @property
    def is_throttled(self) -> bool | None:
        """Whether anything slows it down now; None where nothing says so."""
        return any(one.now for one in self.throttles) if self.throttles else None


class HealthMonitor:
    """Reads again when the last reading is `PERIOD_S` old; by any thread, and never by the frame loop's.

    Args:
        root: The machine, or a folder that stands for one: there no command is run, and what it would have answered is
            read from ``.commands/``.
        clock: Says how old a reading is.
    """

    def __init__(self, root: Path = Path("/"), *, clock: Clock | None = None) -> None:
        self._root = root
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._failures = 0
        self._health = BoardHealth()
        self._read_ns: int | None = None

    def read(self) -> BoardHealth:
        """The newest reading."""
        with self._lock:
            now_ns = self._clock.now_ns()
            if self._read_ns is None or now_ns - self._read_ns >= PERIOD_S * 1e9:
                self._health, self._read_ns = self._read(), now_ns
            return self._health

    def _read(self) -> BoardHealth:
        limit_mhz, max_mhz = self._clocks()
        return BoardHealth(
            temperatures=_named(self._temperatures()),
            powers=_named(self._powers()),
            throttles=tuple(self._throttles()),
            clock_limit_mhz=limit_mhz,
            clock_max_mhz=max_mhz,
        )

    def _clocks(self) -> tuple[float | None, float | None]:
        """Limit and maximum, of the cores that are limited the most."""
        pairs = []
        for policy in self._root.glob("sys/devices/system/cpu/cpufreq/policy*"):
            limit, most = _number(policy / "scaling_max_freq"), _number(policy / "cpuinfo_max_freq")
            if limit is not None and most is not None and min(limit, most) > 0:
                pairs.append((limit / most, -most))
        if not pairs:
            return None, None
        share, negative = min(pairs)
        return -negative * share / 1e3, -negative / 1e3

    def _temperatures(self) -> Iterator[tuple[str, float]]:
        return ((name, milli / 1e3) for name, milli in self._millidegrees() if milli in PLAUSIBLE)

    def _millidegrees(self) -> Iterator[tuple[str, int]]:
        zones = set()
        for zone in _folders(self._root / "sys/class/thermal", "thermal_zone"):
            milli, kind = _number(zone / "temp"), _text(zone / "type")
            if milli is not None:
                # The kernel shows each zone among the hwmon devices once more.
                zones.add(kind.replace("-", "_"))
                yield kind or zone.name, milli
        for chip, name in self._chips():
            for file in _sorted(chip.glob("temp*_input")):
                label = _text(chip / file.name.replace("input", "label"))
                milli = _number(file)
                # Of a CPU's cores, the package's sensor is as warm as the warmest.
                if milli is not None and name not in zones and not label.startswith("Core "):
                    yield f"{name} {label}".strip() or chip.name, milli

    def _powers(self) -> Iterator[tuple[str, float]]:
        """By chips that measure it, as microwatts or (a Jetson's INA3221) as millivolts and milliamperes."""
        for chip, name in self._chips():
            for file in _sorted(chip.glob("curr*_input")) + _sorted(chip.glob("power*_input")):
                channel = re.sub(r"\D", "", file.name)
                label = _text(chip / f"in{channel}_label") or _text(chip / f"power{channel}_label")
                micro = _number(chip / f"power{channel}_input")
                if file.name.startswith("curr"):
                    volts, amperes = _number(chip / f"in{channel}_input"), _number(file)
                    # A channel with both is told once, as power.
                    micro = volts * amperes if micro is None and volts is not None and amperes is not None else None
                if micro is not None:
                    yield label or f"{name or chip.name} {channel}", micro / 1e6

    def _throttles(self) -> Iterator[Throttle]:
        bits = self._pi_bits()
        if bits is not None:
            for bit, reason in enumerate(_PI_BITS):
                yield Throttle(reason=reason, now=bool(bits >> bit & 1), before=bool(bits >> (bit + _SINCE_START) & 1))
        elif alarms := [_number(chip / "in0_lcrit_alarm") for chip, name in self._chips() if name == "rpi_volt"]:
            yield Throttle(reason="voltage", now=alarms[0] == 1)
        cooling = _folders(self._root / "sys/class/thermal", "cooling_device")
        states = [_number(one / "cur_state") for one in cooling if _SLOWED_BY_HEAT.fullmatch(_text(one / "type"))]
        cores = self._root.glob("sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count")
        counts = _known(map(_number, cores))
        if counts or _known(states):
            grew = self._has_grown("heat", sum(counts))
            now = any(state > 0 for state in _known(states)) or grew
            yield Throttle(reason="heat", now=now, before=sum(counts) > 0 if counts else None)
        # Of a Jetson: voltage too low, average and momentary current too high.
        events = _known(_number(file) for chip, _ in self._chips() for file in chip.glob("oc*_event_cnt"))
        if events:
            yield Throttle(reason="current", now=self._has_grown("current", sum(events)), before=sum(events) > 0)

    def _has_grown(self, reason: str, count: int) -> bool:
        before = self._counts.get(reason, count)
        self._counts[reason] = count
        return count > before

    def _pi_bits(self) -> int | None:
        """What a Raspberry Pi's firmware says: in its kernel's file, which a sandbox may read, or to its command."""
        for file in (self._root / "sys/devices/platform").glob("soc*/*firmware/get_throttled"):
            if re.fullmatch(r"(0x)?[0-9a-fA-F]+", text := _text(file)):
                return int(text, 16)
        if self._root != Path("/"):
            answer = _text(self._root / ".commands/vcgencmd get_throttled")
        else:
            answer = _ask_firmware() if self._failures < MAX_FAILURES else ""
        found = re.search(r"0x[0-9a-fA-F]+", answer)
        self._failures = 0 if found else self._failures + 1
        return int(found[0], 16) if found else None

    def _chips(self) -> Iterator[tuple[Path, str]]:
        for chip in _folders(self._root / "sys/class/hwmon", "hwmon"):
            yield chip, _text(chip / "name")


def _ask_firmware() -> str:
    program = shutil.which("vcgencmd")
    if program is None:
        return ""
    import subprocess  # A megabyte that only this firmware needs.

    try:
        done = subprocess.run(
            [program, "get_throttled"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_S
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _named(found: Iterable[tuple[str, float]]) -> tuple[Sensor, ...]:
    """With a number behind a name that comes again."""
    sensors: dict[str, Sensor] = {}
    for name, value in found:
        numbers = (name if number == 1 else f"{name} {number}" for number in range(1, MAX_SENSORS + 1))
        unique = next((one for one in numbers if one not in sensors), None)
        if unique is not None and len(sensors) < MAX_SENSORS:
            sensors[unique] = Sensor(name=unique, value=value)
    return tuple(sensors.values())


def _folders(parent: Path, prefix: str) -> list[Path]:
    return _sorted(parent.glob(f"{prefix}[0-9]*"))


def _sorted(paths: Iterable[Path]) -> list[Path]:
    key: Callable[[Path], int] = lambda path: int(re.sub(r"\D", "", path.name) or 0)  # noqa: E731
    return sorted(paths, key=key)


def _known(numbers: Iterable[int | None]) -> list[int]:
    return [number for number in numbers if number is not None]


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


def _text(path: Path) -> str:
    # A sensor that is switched off answers with an error, too.
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\n\0 ")
    except OSError:
        return ""
