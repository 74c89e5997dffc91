"""What a `write` of a queued sink costs the frame loop, with and without pauses: `python benchmarks/sinks.py`."""

import statistics
import time

import numpy as np

from edgex_runtime.freshness import State
from edgex_runtime.sinks.fake import FakeSink
from edgex_runtime.sinks.queued import QueuedSink, QueueOptions
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame

COUNT = 2000
FRAME = Frame(image=np.zeros((720, 1280, 3), np.uint8), index=0, captured_ns=0, name="x")
RESULT = LiveResult(state=State.LIVE, name="x", at_ns=0, age_ms=1.0, dropped=0, index=1, label="cat", score=0.9)


class Forgetful(FakeSink):
    """Takes 200 µs of its thread's time and keeps nothing."""

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Sleep, as a write to a disk or socket does."""
        time.sleep(2e-4)


def measure_us(*, pause_s: float, waits: bool) -> list[float]:
    """Microseconds of each write."""
    queued = QueuedSink(Forgetful(), name="it", options=QueueOptions(capacity=4, waits=waits))
    spent = []
    for _ in range(COUNT):
        start = time.perf_counter_ns()
        queued.write(FRAME, RESULT)
        spent.append((time.perf_counter_ns() - start) / 1e3)
        time.sleep(pause_s)
    queued.close()
    return sorted(spent)


for pause_s, waits in ((0.005, False), (0.005, True), (0.0, False)):
    spent = measure_us(pause_s=pause_s, waits=waits)
    pace = f"every {pause_s * 1e3:g} ms" if pause_s else "without pause"
    print(
        f"{pace:15} {'waits' if waits else 'drops'}: median {statistics.median(spent):.1f} µs, "
        f"99 % within {spent[int(0.99 * COUNT)]:.1f} µs"
    )
