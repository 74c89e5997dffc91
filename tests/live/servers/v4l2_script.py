"""What is tried on a real V4L2 camera; runs in the guest of `v4l2_guest`, and writes one JSON line a finding."""

import json
import threading
import time
from functools import partial
from pathlib import Path

from edgex_runtime.capture import Capture
from edgex_runtime.clock import SystemClock
from edgex_runtime.errors import SourceLostError
from edgex_runtime.freshness import State
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame
from edgex_runtime.sources.webcam import found

DRIVER = Path("/sys/bus/platform/drivers/vivid")
LIMIT_S = 60.0


def tell(name: str, value: object) -> None:
    print("\n" + json.dumps({name: value}), flush=True)


def held() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> None:
    tell("found", found())
    try:
        open_source("7")
    except SourceLostError as error:
        tell("missing", str(error))
    before = held()
    source = open_source("/dev/video0?size=640x360&timeout=3s")
    tell("waits by", source._descriptor)  # type: ignore[attr-defined]
    frames = [source.read() for _ in range(10)]
    last = frames[-1]
    assert isinstance(last, Frame)
    tell("age_ms", (time.monotonic_ns() - last.captured_ns) / 1e6)
    tell("shape", last.image.shape)
    source.close()
    source = open_source("0?format=YUYV&size=320x180&fps=10")
    frame = source.read()
    assert isinstance(frame, Frame)
    tell("asked for", [source.info.fps, frame.image.shape])
    source.close()
    unplug()
    tell("left", [held() - before, [thread.name for thread in threading.enumerate()]])


def unplug() -> None:
    reopen = partial(open_source, "/dev/video0?timeout=3s")
    with Capture(reopen(), clock=SystemClock(), reopen=reopen, reconnect_s=LIMIT_S) as capture:
        end = time.monotonic() + LIMIT_S
        count = 0
        while count < 10 and time.monotonic() < end:
            count += capture.take(timeout_s=1) is not None
        (DRIVER / "unbind").write_text("vivid.0")
        while capture.state() is not State.RECONNECTING and time.monotonic() < end:
            capture.take(timeout_s=0.05)
        tell("unplugged", capture.state().value)
        (DRIVER / "bind").write_text("vivid.0")
        while capture.reconnects == 0 and time.monotonic() < end:
            capture.take(timeout_s=0.05)
        tell("plugged in", capture.state().value)
        started = time.monotonic()
    tell("closed_s", time.monotonic() - started)


if __name__ == "__main__":
    main()
