"""What the console costs a run, and how long a picture takes to a viewer: 1280 × 720 at 30 frames a second on loopback.

    python benchmarks/console.py [--viewers 0,1,8] [--seconds N]

Viewers take each picture and answer at once, as the page does; they are threads of this process, so that the CPU time
told contains their share too.
"""

import argparse
import io
import json
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.table import Table
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from edgex_runtime.freshness import State
from edgex_runtime.sinks.registry import Surroundings, open_sink
from edgex_runtime.sinks.sink import LiveResult, Sink
from edgex_runtime.sources.source import Frame, SourceInfo

FPS = 30
SIZE = (720, 1280, 3)
FRAMES = 8


@dataclass(slots=True)
class Viewer:
    """Takes pictures from the console at `port`, until it closes; `delays_ms` is from `write` to receipt."""

    port: int
    written_ns: dict[str, int]
    delays_ms: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Take and answer."""
        origin = f"http://127.0.0.1:{self.port}"
        with connect(f"ws://127.0.0.1:{self.port}/live", origin=origin, proxy=None, max_size=None) as socket:
            while True:
                try:
                    message = socket.recv()
                except ConnectionClosed:
                    return
                if isinstance(message, bytes):
                    now_ns = time.monotonic_ns()
                    length = int.from_bytes(message[:4], "big")
                    update = json.loads(message[4 : 4 + length])
                    socket.send(json.dumps({"do": "seen", "number": update["number"]}))
                    if len(message) > 4 + length:
                        self.delays_ms.append((now_ns - self.written_ns[update["picture"]["name"]]) / 1e6)


def feed(sink: Sink, seconds: float, written_ns: dict[str, int]) -> list[float]:
    """Write frames at `FPS`; the microseconds that each `write` took."""
    rng, took_us = np.random.default_rng(0), []
    # Noise on a gradient: a JPEG of 200 to 300 kB, as of a camera in poor light.
    base = np.linspace(40, 200, SIZE[1])[None, :, None]
    images = [np.clip(base + rng.normal(0, 6, SIZE), 0, 255).astype(np.uint8) for _ in range(FRAMES)]
    start_ns = time.monotonic_ns()
    for index in range(round(seconds * FPS)):
        time.sleep(max(0.0, (start_ns + index * 1e9 / FPS - time.monotonic_ns()) / 1e9))
        now_ns, name = time.monotonic_ns(), f"camera#{index}"
        frame = Frame(image=images[index % FRAMES], index=index, captured_ns=now_ns, name=name)
        result = LiveResult(
            state=State.LIVE, name=name, at_ns=now_ns, age_ms=0.0, dropped=0, index=index, label="a", score=1.0
        )
        written_ns[name] = now_ns
        sink.write(frame, result)
        took_us.append((time.monotonic_ns() - now_ns) / 1e3)
    return took_us


def measure(viewers: int, seconds: float) -> list[str]:
    """One row of the table."""
    said = io.StringIO()
    sink = open_sink("http://127.0.0.1:0", Surroundings(source=SourceInfo(name="camera", live=True), stderr=said))
    port, written_ns = int(said.getvalue().rstrip("/\n").rsplit(":", 1)[1]), {}
    looking = [Viewer(port, written_ns) for _ in range(viewers)]
    threads = [threading.Thread(target=viewer.run) for viewer in looking]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    cpu_s = time.process_time()
    took_us = feed(sink, seconds, written_ns)
    cpu = (time.process_time() - cpu_s) / seconds
    sink.close()
    for thread in threads:
        thread.join()
    row = [str(viewers), f"{np.median(took_us):.0f} · {np.percentile(took_us, 99):.0f}", f"{cpu:.0%}"]
    if not viewers:
        return [*row, "", ""]
    delays = np.concatenate([viewer.delays_ms for viewer in looking])
    return [
        *row,
        f"{len(delays) / viewers / seconds:.1f}",
        f"{np.median(delays):.1f} · {np.percentile(delays, 99):.1f}",
    ]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", default="0,1,8")
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    table = Table("viewers", "write µs, median · p99", "CPU of one core", "pictures/s each", "delay ms, median · p99")
    for viewers in map(int, given.viewers.split(",")):
        table.add_row(*measure(viewers, given.seconds))
    Console().print(table)


if __name__ == "__main__":
    main()
