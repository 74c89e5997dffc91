"""What a live run comes to: counts, rates and percentiles, in memory that does not grow with the run."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from edgex_runtime.freshness import State
from edgex_runtime.sinks.sink import LiveResult

STAGES = ("capture", "preprocess", "inference", "postprocess", "sink")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSummary:
    """A live run in figures.

    Attributes:
        frames: Pictures that came to the model's turn: `classified` and `failed`.
        classified: Of those, with a label.
        failed: Of those, that could not be read.
        dropped: Frames of live sources that newer ones replaced.
        seconds: From the first frame's result to the last one's; `fps` is over the same time.
        fps: Classified frames per second; 0 for fewer than two.
        age_median_ms: Of the frames, when their results were ready; None without any. Exact to one percent.
        age_p95_ms: Of twenty frames nineteen were younger.
        age_max_ms: The oldest.
        stage_median_ms: Stage → median milliseconds.
        state: How the source ended.
        interrupted: Whether the user ended it.
    """

    frames: int
    classified: int
    failed: int
    dropped: int
    seconds: float
    fps: float
    age_median_ms: float | None
    age_p95_ms: float | None
    age_max_ms: float | None
    stage_median_ms: dict[str, float]
    state: State
    interrupted: bool


class Percentiles:
    """Percentiles of positive numbers, exact to one percent, in at most some thousand counters."""

    RATIO = math.log(1.01)
    SMALLEST = 1e-6
    RECENT = 1024
    """So many numbers are counted at once, which takes a tenth of the time."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._recent: list[float] = []
        self._largest = 0.0

    def add(self, value: float) -> None:
        """Count `value`."""
        self._recent.append(value)
        if len(self._recent) >= self.RECENT:
            self._count()

    def _count(self) -> None:
        values = np.array([self._largest, *self._recent])
        buckets = np.rint(np.log(np.maximum(values[1:], self.SMALLEST)) / self.RATIO).astype(int)
        self._counts.update(buckets.tolist())
        self._largest = float(values.max())
        self._recent.clear()

    def at(self, share: float) -> float | None:
        """The value below which `share` (0..1) of the numbers lie; None without any; 1 gives the largest, exactly."""
        self._count()
        total = self._counts.total()
        if not total:
            return None
        rank = share * total
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0 and share < 1:
                return math.exp(bucket * self.RATIO)
        return self._largest


class Tally:
    """Adds up results."""

    def __init__(self) -> None:
        self._classified = 0
        self._failed = 0
        self._dropped: dict[str, int] = {}
        self._first_ns = 0
        self._last_ns = 0
        self._ages = Percentiles()
        self._stages = {stage: Percentiles() for stage in STAGES}

    def add(self, result: LiveResult, *, sink_ms: float) -> None:
        """Count one result, and what handing it to the sinks took; what only tells the state counts for nothing."""
        self._dropped[result.source] = result.dropped
        if result.index is None:
            return
        if result.times is None or result.age_ms is None:
            self._failed += 1
            return
        if not self._classified:
            self._first_ns = result.at_ns
        self._last_ns = result.at_ns
        self._classified += 1
        self._ages.add(result.age_ms)
        times = result.times
        self._stages["capture"].add(times.capture_ms)
        self._stages["preprocess"].add(times.preprocess_ms)
        self._stages["inference"].add(times.inference_ms)
        self._stages["postprocess"].add(times.postprocess_ms)
        self._stages["sink"].add(sink_ms)

    def summary(self, *, state: State, interrupted: bool) -> LiveSummary:
        """The figures so far."""
        seconds = (self._last_ns - self._first_ns) / 1e9
        medians = {stage: percentiles.at(0.5) for stage, percentiles in self._stages.items()}
        return LiveSummary(
            frames=self._classified + self._failed,
            classified=self._classified,
            failed=self._failed,
            dropped=sum(self._dropped.values()),
            seconds=seconds,
            fps=(self._classified - 1) / seconds if seconds else 0.0,
            age_median_ms=self._ages.at(0.5),
            age_p95_ms=self._ages.at(0.95),
            age_max_ms=self._ages.at(1),
            stage_median_ms={stage: value for stage, value in medians.items() if value is not None},
            state=state,
            interrupted=interrupted,
        )
