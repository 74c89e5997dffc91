"""What a user asks of a candidate: frames a second, time of a frame, memory; and how far one is from it."""

from dataclasses import dataclass

from edgex_devices.tuning.tuned import Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None asks for nothing.

    Attributes:
        min_fps: Held against the median frame.
        max_latency_ms: Held against nineteen of twenty frames.
        memory_mb: Held against the process's peak.
    """

    min_fps: float | None = None
    max_latency_ms: float | None = None
    memory_mb: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_fps", "max_latency_ms", "memory_mb"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name}: want more than 0, got {value}")

    def __str__(self) -> str:
        """In words."""
        wanted = [
            f"at least {self.min_fps:g} fps" if self.min_fps else "",
            f"95 % of frames within {self.max_latency_ms:g} ms" if self.max_latency_ms else "",
            f"at most {self.memory_mb:g} MB" if self.memory_mb else "",
        ]
        return ", ".join(filter(None, wanted)) or "the fastest"

    def excesses(self, figures: Figures) -> dict[str, float]:
        """What is exceeded, in words, and by which factor; empty for a candidate that fits."""
        asked = {
            f"{figures.fps:.1f} fps, wanted are {self.min_fps or 0:g}": self.min_fps and self.min_fps / figures.fps,
            f"95 % within {figures.p95_ms:.1f} ms, wanted are {self.max_latency_ms or 0:g}": self.max_latency_ms
            and figures.p95_ms / self.max_latency_ms,
            f"{figures.peak_mb:.0f} MB, wanted are {self.memory_mb or 0:g}": self.memory_mb
            and figures.peak_mb / self.memory_mb,
        }
        return {words: factor for words, factor in asked.items() if factor and factor > 1}

    @property
    def frame_ms(self) -> float | None:
        """The shortest time that is asked of a frame."""
        asked = [1e3 / self.min_fps if self.min_fps else None, self.max_latency_ms]
        return min((value for value in asked if value is not None), default=None)
