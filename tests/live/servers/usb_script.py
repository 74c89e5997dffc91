"""What is tried on a USB camera that sends MJPG; runs in the guest of `v4l2_guest`, one JSON line a finding."""

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from camera_server import draw, read
from usb_camera import UsbCamera

from edgex_runtime.errors import SourceLostError
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.source import Frame, Unreadable

SIZE = (640, 480)
DEVICE = "/dev/video0"
ITEMS = 24
LIMIT_S = 60.0


def tell(name: str, value: object) -> None:
    print("\n" + json.dumps({name: value}), flush=True)


def to_jpeg(number: int) -> bytes:
    image = draw(number, SIZE) + np.random.default_rng(number).normal(0, 8, (SIZE[1], SIZE[0], 3))
    data: bytes = simplejpeg.encode_jpeg(image.clip(0, 255).astype(np.uint8), quality=85, colorsubsampling="422")
    return data


def frames() -> Iterator[bytes]:
    """In turn: whole; with a hole; cut off; whole, with padding behind. Odd numbers are whole ones'."""
    whole, other, third = (to_jpeg(number) for number in (1, 2, 3))
    middle = len(other) // 2
    return itertools.cycle([whole, other[:middle] + other[middle + 1024 :], other[:middle], third + bytes(512)])


def main() -> None:
    camera = UsbCamera(frames(), SIZE)
    camera.plug_in()
    end = time.monotonic() + LIMIT_S
    while not Path(DEVICE).exists() and time.monotonic() < end:
        time.sleep(0.1)
    tell("driver", Path("/sys/class/video4linux/video0/device/driver").resolve().name)
    tell("opencv alone", by_opencv())
    source = open_source(f"{DEVICE}?timeout=20s")
    items = [source.read() for _ in range(ITEMS)]
    tell("edgex", [read(item.image) if isinstance(item, Frame) else "damaged" for item in items])
    tell("said", next(item.error for item in items if isinstance(item, Unreadable)))
    newest = next(item for item in reversed(items) if isinstance(item, Frame))
    tell("shape", newest.image.shape)
    tell("age_ms", (time.monotonic_ns() - newest.captured_ns) / 1e6)
    camera.unplug()
    try:
        while source.read() is not None:
            pass
    except SourceLostError as error:
        tell("unplugged", str(error))
    source.close()


def by_opencv() -> list[int | str | None]:
    """What OpenCV makes of the same: the numbers that it shows, None for a picture that shows none."""
    capture = cv2.VideoCapture(DEVICE, cv2.CAP_V4L2)
    retrieved = [capture.read() for _ in range(ITEMS)]
    capture.release()
    return [read(image) if done else "damaged" for done, image in retrieved]  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
