"""How old a picture is when its answer is there, with a model three times slower than the camera, for minutes.

    python benchmarks/frame_age.py [--seconds N] [--source rtsp|mjpeg] [--size 640x480]

A real RTSP server (tests/live/servers/rtsp_server.py says what it wants) and an MJPEG server run on loopback in
processes of their own, 30 frames a second. Each draws the moment into the pixels, on the one monotonic clock of the
machine; the model takes 100 ms and reads it back at the end of its work. What has to hold: the 99th percentile stays
below one inference and two frame intervals, and does not grow.
"""

import argparse
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edgex_runtime.engines.engine import EngineInfo
from edgex_runtime.live import LiveOptions, run_live
from edgex_runtime.predictions import Prediction, Prepared, Score, Timing
from edgex_runtime.sources.registry import open_source
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

FPS = 30
INFERENCE_S = 3 / FPS
BITS = 32
WARM_UP_S = 5.0
SERVER = Path(__file__).resolve().parents[1] / "tests" / "live" / "servers" / "rtsp_server.py"

SPEC = ModelSpec(
    name="clock", labels=("picture", "none"), input=InputSpec(height=8, width=8), resize=Resize(mode="stretch")
)
INFO = EngineInfo(name="clock", version="1", device="cpu")


@dataclass
class SlowModel:
    """Takes its time, then reads how old its picture is."""

    moments_s: list[float] = field(default_factory=list)
    ages_ms: list[float] = field(default_factory=list)
    inferences_ms: list[float] = field(default_factory=list)
    spec: ModelSpec = SPEC
    info: EngineInfo = INFO

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """Keep the picture as it is."""
        return Prepared(tensor=image, preprocess_ms=0.0)

    def classify(self, prepared: Sequence[Prepared]) -> list[Prediction]:
        """Wait as long as an inference takes, and note the picture's age."""
        return [self._classify(np.asarray(one.tensor, dtype=np.uint8)) for one in prepared]

    def _classify(self, image: NDArray[np.uint8]) -> Prediction:
        started = time.monotonic()
        time.sleep(INFERENCE_S)
        now_ns = time.monotonic_ns()
        self.moments_s.append(now_ns / 1e9)
        self.inferences_ms.append((now_ns / 1e9 - started) * 1e3)
        self.ages_ms.append((now_ns // 1_000_000 - read_bars(image)) % (1 << BITS))
        score = Score(label="picture", score=1.0)
        timing = Timing(preprocess_ms=0.0, inference_ms=self.inferences_ms[-1], postprocess_ms=0.0)
        return Prediction(label="picture", score=1.0, top5=(score,), logits=np.zeros(1, np.float32), timing=timing)


def read_bars(image: NDArray[np.uint8]) -> int:
    """The number that the servers draw, as black and white bars in the picture's upper half."""
    bar = image.shape[1] // BITS
    row = image[image.shape[0] // 8 : image.shape[0] // 4].mean(axis=(0, 2))
    return sum(1 << bit for bit in range(BITS) if row[bar * bit + bar // 2] > 127)


def draw_bars(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """(H, W, 3) with `number` in its upper half, inverted in its lower."""
    bits = np.array([(number >> bit) & 1 for bit in range(BITS)], dtype=np.uint8)
    row = np.repeat(bits * 215 + 20, width // BITS)
    half = np.broadcast_to(row, (height // 2, row.size))
    grey = np.concatenate([half, 255 - half])
    return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))


class MjpegHandler(BaseHTTPRequestHandler):
    """Sends the present moment as a JPEG, thirty times a second."""

    size = (640, 480)

    def do_GET(self) -> None:
        """Stream until the client leaves."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
        self.end_headers()
        due = time.monotonic()
        while True:
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due + 1 / FPS, time.monotonic() - 1.0)
            picture = draw_bars(time.monotonic_ns() // 1_000_000 % (1 << BITS), *self.size)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve_mjpeg(port: Connection, size: tuple[int, int]) -> None:
    """Serve until the process is killed; tells the port."""
    MjpegHandler.size = size
    with HTTPServer(("127.0.0.1", 0), MjpegHandler) as server:
        port.send(server.server_address[1])
        server.serve_forever()


@contextmanager
def mjpeg(size: str) -> Iterator[str]:
    """A running MJPEG camera's address."""
    width, height = map(int, size.split("x"))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_mjpeg, args=(theirs, (width, height)), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{ours.recv()}/video"
    process.kill()
    process.join()


@contextmanager
def rtsp(size: str) -> Iterator[str]:
    """A running RTSP camera's address."""
    command = ["/usr/bin/python3", str(SERVER), "--show", "time", "--bits", str(BITS), "--size", size]
    with subprocess.Popen([*command, "--fps", str(FPS)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"rtsp://127.0.0.1:{process.stdout.readline().strip()}/camera"
        process.kill()


@dataclass(frozen=True, kw_only=True)
class Ages:
    """What was measured, in milliseconds; the slope in milliseconds a minute with its standard error.

    `taken_p99` is the age at which the model began: on a busy machine the inference itself takes longer than it should.
    """

    count: int
    dropped: int
    p50: float
    p99: float
    oldest: float
    taken_p99: float
    slope: float
    slope_error: float
    limit: float

    @property
    def holds(self) -> bool:
        """Below the limit, and no growth that could not be chance (three standard errors, or 1 ms a minute)."""
        return self.p99 <= self.limit and self.slope <= max(3 * self.slope_error, 1.0)


def measure(uri: str, seconds: float) -> Ages:
    """Run the loop on `uri`."""
    model = SlowModel()
    summary = run_live(model, open_source(uri), options=LiveOptions(duration_s=seconds + WARM_UP_S))
    moments = np.array(model.moments_s)
    warm = moments - moments[0] >= WARM_UP_S
    ages, minutes = np.array(model.ages_ms)[warm], moments[warm] / 60
    centred = minutes - minutes.mean()
    slope = float((centred * ages).sum() / (centred**2).sum())
    residual = ages - ages.mean() - slope * centred
    inference = float(np.median(model.inferences_ms))
    return Ages(
        count=ages.size,
        dropped=summary.dropped,
        p50=float(np.quantile(ages, 0.5)),
        p99=float(np.quantile(ages, 0.99)),
        oldest=float(ages.max()),
        taken_p99=float(np.quantile(ages - np.array(model.inferences_ms)[warm], 0.99)),
        slope=slope,
        slope_error=float(np.sqrt((residual**2).sum() / (ages.size - 2) / (centred**2).sum())),
        limit=inference + 2e3 / FPS,
    )


def main() -> int:
    """Print one line a source; 1 if one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--source", choices=("rtsp", "mjpeg"), action="append")
    parser.add_argument("--size", default="640x480")
    options = parser.parse_args()
    table = Table("source", title=f"frame age, {FPS} fps {options.size}, {options.seconds:g} s")
    for heading in (
        "answers",
        "dropped",
        "p50 ms",
        "p99 ms",
        "oldest ms",
        "p99 at start",
        "slope ms/min",
        "limit ms",
        "holds",
    ):
        table.add_column(heading, justify="right")
    all_hold = True
    for name in options.source or ("rtsp", "mjpeg"):
        with {"rtsp": rtsp, "mjpeg": mjpeg}[name](options.size) as uri:
            ages = measure(uri, options.seconds)
        all_hold = all_hold and ages.holds
        figures = (f"{figure:.1f}" for figure in (ages.p50, ages.p99, ages.oldest, ages.taken_p99))
        slope = f"{ages.slope:+.2f} ± {ages.slope_error:.2f}"
        verdict = "yes" if ages.holds else "NO"
        table.add_row(name, str(ages.count), str(ages.dropped), *figures, slope, f"{ages.limit:.1f}", verdict)
    Console().print(table)
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
