"""What the motion gate saves, and what it costs: one film of a still room in which something moves now and then.

    python benchmarks/motion.py MODEL [--threads N] [--seconds N] [--photo FILE]

The room is a photo (drawn, without one) with a sensor's noise on it, at 10 frames a second; for a fifth of the time a
ball rolls through it. The same frames are classified with the gate and without; processor time, not wall time, is what
a battery pays.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from time import process_time

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex import Model
from edgex_runtime.image import read_image
from edgex_runtime.live import Hooks, LiveOptions, LiveResult, run_live
from edgex_runtime.motion import MotionOptions
from edgex_runtime.sources.fake import FakeSource
from edgex_runtime.sources.source import Frame, SourceInfo

FPS = 10
SIZE = (640, 480)
CYCLE_S = 10
MOVING_S = 2
NOISE = 5.0


def make_frames(room: NDArray[np.uint8], count: int) -> Iterator[Frame]:
    """The film; frame `index` is the same each time."""
    for index in range(count):
        rng = np.random.default_rng(index)
        image = room.astype(np.float32) + rng.normal(0, NOISE, room.shape).astype(np.float32)
        seconds = index / FPS % CYCLE_S
        if seconds < MOVING_S:
            cv2.circle(image, (round(SIZE[0] * seconds / MOVING_S), 300), 40, (200, 40, 30), -1, cv2.LINE_AA)
        picture = np.clip(image, 0, 255).astype(np.uint8)
        yield Frame(image=picture, index=index, captured_ns=0, name=f"room#{index}", position_ms=1e3 * index / FPS)


def classify(model: Model, frames: list[Frame], motion: MotionOptions | None) -> tuple[float, list[LiveResult]]:
    """Processor seconds, and the results."""
    results: list[LiveResult] = []
    source = FakeSource(frames, SourceInfo(name="room", live=False, fps=FPS))
    started = process_time()
    run_live(model, source, options=LiveOptions(motion=motion), hooks=Hooks(on_result=results.append))
    return process_time() - started, results


def main() -> None:
    """Print what both runs took, and on how many frames they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--photo", type=Path)
    options = parser.parse_args()
    drawn = np.random.default_rng(7).integers(60, 190, (12, 16, 3)).astype(np.uint8)
    room = cv2.resize(
        drawn if options.photo is None else read_image(options.photo), SIZE, interpolation=cv2.INTER_LINEAR
    )
    frames = list(make_frames(room, options.seconds * FPS))
    with Model(options.model, threads=options.threads) as model:
        model.warm_up()
        plain_s, plain = classify(model, frames, None)
        gated_s, gated = classify(model, frames, MotionOptions())
    reused = sum(result.reused for result in gated)
    differing = sum(a.label != b.label for a, b in zip(plain, gated, strict=True))
    print(f"without the gate  {plain_s:6.2f} processor seconds for {len(plain)} frames")
    print(f"with the gate     {gated_s:6.2f} ({gated_s / plain_s:.0%}); {reused} answers were the last one's")
    print(f"labels differ on  {differing} frames")


if __name__ == "__main__":
    main()
