"""The camera on a board's ribbon cable: rpicam-vid on a Raspberry Pi, nvarguscamerasrc on a Jetson."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, MissingExtraError
from edgex_runtime.sources.gstreamer import launch
from edgex_runtime.sources.options import Size, parse_fps, parse_options, parse_size
from edgex_runtime.sources.pipe import Pipe
from edgex_runtime.sources.program import Program, ProgramSource
from edgex_runtime.sources.raw import frame_bytes, to_rgb

DEVICE_TREE = Path("/proc/device-tree/model")
PI_PROGRAMS = ("rpicam-vid", "libcamera-vid")
# libcamera pads the rows of its planes to this, and rpicam-vid writes the padding.
PI_WIDTH_STEP = 64
OPTIONS: dict[str, Callable[[str], object]] = {"size": parse_size, "fps": parse_fps}


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiOptions:
    """What stands after the ``?``: what the sensor is asked for."""

    size: Size = (1280, 720)
    fps: float = 30.0


def open_csi(uri: str, clock: Clock, *, device_tree: Path = DEVICE_TREE) -> ProgramSource:
    """Open ``csi://0?size=1280x720&fps=30``.

    Raises:
        BadInputError: If the address or an option cannot be used, or this board is neither.
        MissingExtraError: If the board's camera program is not installed.
        SourceLostError: If the camera gives no picture.
    """
    number, _, query = uri[len("csi://") :].partition("?")
    if not re.fullmatch(r"[0-9]{1,2}", number):
        raise BadInputError(f"{shown(uri)}: want a camera's number, as in csi://0")
    options = CsiOptions(**parse_options(query, OPTIONS, where=uri))  # type: ignore[arg-type]
    model = device_tree.read_text(errors="replace").strip("\0\n ") if device_tree.exists() else "no device tree"
    for word, start in (("Raspberry Pi", _open_pi), ("Jetson", _open_jetson), ("NVIDIA", _open_jetson)):
        if word in model:
            return start(int(number), options, f"csi://{number}", clock)
    raise BadInputError(
        f"{shown(uri)}: want a Raspberry Pi or an NVIDIA Jetson, found {model!r}: name the camera as this board does, "
        "by /dev/video0 or a pipeline (gst:…)"
    )


def _open_pi(number: int, options: CsiOptions, name: str, clock: Clock) -> ProgramSource:
    program = next(filter(None, map(shutil.which, PI_PROGRAMS)), None)
    if program is None:
        raise MissingExtraError(f"{name}: {PI_PROGRAMS[0]} is not installed: apt-get install rpicam-apps")
    width, height = options.size
    if width % PI_WIDTH_STEP or height % 2:
        raise BadInputError(f"{name}: want a width that {PI_WIDTH_STEP} divides and an even height, such as 1280x720")
    command = [program, "--camera", str(number), "--timeout", "0", "--nopreview", "--codec", "yuv420", "--flush"]
    command += ["--width", str(width), "--height", str(height), "--framerate", f"{options.fps:g}", "--output", "-"]

    def read_picture(pipe: Pipe) -> NDArray[np.uint8] | None:
        data = np.empty(frame_bytes("yuv420p", options.size), dtype=np.uint8)
        return to_rgb(data, "yuv420p", options.size) if pipe.fill(data.data) == data.size else None

    source = ProgramSource(Program(command=command, read_picture=read_picture, fps=options.fps), name=name, clock=clock)
    source.open()
    return source


def _open_jetson(number: int, options: CsiOptions, name: str, clock: Clock) -> ProgramSource:
    width, height = options.size
    caps = f"video/x-raw(memory:NVMM),width={width},height={height},framerate={round(options.fps)}/1"
    words = ["nvarguscamerasrc", f"sensor-id={number}", "!", caps, "!", "nvvidconv", "!", "video/x-raw,format=BGRx"]
    return launch(words, name=name, clock=clock)
