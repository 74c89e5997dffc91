"""What the page shows of the board: its newest health in words, and the last ten minutes for a plot."""

from dataclasses import dataclass

from edgex_runtime.health import REASONS, BoardHealth, HealthMonitor, Sensor

KEEP = 120
"""As many points as the page's other plots have; at one every five seconds ten minutes, for heat is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPoint:
    """One reading of the plot.

    Attributes:
        number: Counts up by one.
        celsius: Of the sensor that was the warmest; None where there is none.
    """

    number: int
    celsius: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthNews:
    """The board, for a viewer who has not seen this reading.

    Attributes:
        number: Of the newest reading.
        hottest: The warmest sensor.
        temperatures: Every sensor's.
        powers: Every rail's.
        throttling: Whether it is slowed down, in words; "" where it does not tell.
        slowed: What slows the board down now, in words.
        before: What has since it was started, and does not now.
        clock: What the CPU may run at and what it can, in words; "" where it may run at what it can.
        points: What the plot has gained.
    """

    number: int
    hottest: Sensor | None
    temperatures: tuple[Sensor, ...]
    powers: tuple[Sensor, ...]
    throttling: str
    slowed: tuple[str, ...]
    before: tuple[str, ...]
    clock: str
    points: tuple[HealthPoint, ...]


class HealthLog:
    """Reads in one thread, and is asked in another: what they share is replaced whole."""

    def __init__(self, monitor: HealthMonitor) -> None:
        """Store; nothing is read before `measure`."""
        self._monitor = monitor
        self._newest: tuple[BoardHealth, tuple[HealthPoint, ...]] = (BoardHealth(), ())

    def measure(self) -> None:
        """Read once; may take as long as a command does."""
        health, points = self._monitor.read(), self._newest[1]
        number = points[-1].number + 1 if points else 0
        point = HealthPoint(number=number, celsius=health.hottest.value if health.hottest else None)
        self._newest = (health, (*points, point)[-KEEP:])

    def after(self, number: int) -> HealthNews | None:
        """What is new since reading `number`; None for nothing, and of a board that tells nothing."""
        health, kept = self._newest
        points = tuple(point for point in kept if point.number > number)
        if not points or not health.is_known:
            return None
        return HealthNews(
            number=points[-1].number,
            hottest=health.hottest,
            temperatures=health.temperatures,
            powers=health.powers,
            throttling=_throttling(health),
            slowed=tuple(REASONS[one.reason] for one in health.throttles if one.now),
            before=tuple(REASONS[one.reason] for one in health.throttles if one.before and not one.now),
            clock=_clock(health),
            points=points,
        )


def _throttling(health: BoardHealth) -> str:
    if health.is_throttled is None:
        return ""
    never = all(one.before is False for one in health.throttles)
    return "now" if health.is_throttled else "none since its start" if never else "none now"


def _clock(health: BoardHealth) -> str:
    limit, most = health.clock_limit_mhz, health.clock_max_mhz
    if limit is None or most is None or limit >= most:
        return ""
    return f"{limit / 1e3:.2g} of {most / 1e3:.2g} GHz"
