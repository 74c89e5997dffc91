"""Heat, power and the clock."""

from collections.abc import Iterator

from edgex_devices.facts import Facts
from edgex_devices.finding import Finding
from edgex_devices.profile import Profile

# From here on a Raspberry Pi slows down
# (https://www.raspberrypi.com/documentation/computers/raspberry-pi.html#frequency-management-and-thermal-control);
# other boards' limits are near it.
HOT_CELSIUS = 80.0
# TLS and signatures allow for minutes, sensors' time stamps for less.
LARGEST_OFFSET_S = 30.0
# https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd
_THROTTLED_NOW = {
    0: "the supply's voltage is too low",
    1: "the clock is capped",
    2: "the CPU is throttled",
    3: "the soft limit of the temperature is reached",
}
_SINCE_START = 16


def check_throttling(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """What a Raspberry Pi's firmware and an Intel CPU count."""
    bits = facts.health.throttled
    if bits is not None:
        now = [text for bit, text in _THROTTLED_NOW.items() if bits >> bit & 1]
        since = [text for bit, text in _THROTTLED_NOW.items() if bits >> (bit + _SINCE_START) & 1 and text not in now]
        if now:
            yield _slow(f"at this moment: {', '.join(now)} (throttled={bits:#x})", is_now=True)
        if since:
            yield _slow(f"since the start it happened that {', '.join(since)} (throttled={bits:#x})", is_now=False)
        if not bits:
            yield Finding(
                check="throttling", severity="ok", what="never throttled since the start, supply as it should be"
            )
    elif facts.health.undervoltage:
        yield _slow("at this moment: the supply's voltage is too low (rpi_volt)", is_now=True)
    if facts.health.throttle_count:
        yield _slow(f"since the start heat has slowed the cores down {facts.health.throttle_count} times", is_now=False)


def _slow(what: str, *, is_now: bool) -> Finding:
    return Finding(
        check="throttling",
        severity="warning" if is_now else "note",
        what=what,
        why="frames take longer than was measured when it was cool and well fed",
        mend="a better supply and cable for voltage, a heat sink or a fan for heat; then start it anew and ask again",
    )


def check_temperature(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """The warmest sensor."""
    zone = facts.hottest
    if zone is None:
        return
    what = f"{zone.celsius:.0f} °C ({zone.name or 'sensor'})"
    if zone.celsius < HOT_CELSIUS:
        yield Finding(check="temperature", severity="ok", what=what)
    else:
        yield Finding(
            check="temperature",
            severity="warning",
            what=what,
            why=f"from about {HOT_CELSIUS:.0f} °C on boards slow down",
            mend="a heat sink or a fan, out of the sun",
        )


def check_clock(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """Whether the clock is right after a power cut too."""
    clock = facts.clock
    if clock.is_synchronised:
        yield Finding(check="clock", severity="ok", what="held to the network's time")
    else:
        said = "not held to the network's time" if clock.is_synchronised is False else "nobody says whether it is right"
        yield Finding(
            check="clock",
            severity="warning" if clock.is_synchronised is False else "note",
            what=said,
            why="results carry its time, and TLS to cameras and brokers fails when it is far off",
            mend="sudo timedatectl set-ntp true; timedatectl",
        )
    if facts.board.compatible and not clock.has_rtc:
        yield Finding(
            check="clock",
            severity="note",
            what="no clock that outlives a power cut (RTC)",
            why="without a network the time is wrong after each start",
            mend="an RTC module, or a time server within reach",
        )


def check_offset(facts: Facts, reference_s: float) -> Iterator[Finding]:
    """How far a host's clock is from the one of the machine that asks, `reference_s` in seconds since 1970."""
    offset = facts.time_s - reference_s
    if abs(offset) <= LARGEST_OFFSET_S:
        yield Finding(check="clock", severity="ok", what=f"{offset:+.1f} s from this machine's clock")
    else:
        yield Finding(
            check="clock",
            severity="error",
            what=f"{offset:+.0f} s from this machine's clock",
            why="TLS, signatures with dates, and every time stamp are wrong on one of the two",
            mend="sudo timedatectl set-ntp true, on the one that is wrong",
        )
