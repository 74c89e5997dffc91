"""Any GStreamer pipeline that ends in video: ``gst:v4l2src ! …``, run by the board's own `gst-launch-1.0`.

OpenCV's wheels are built without GStreamer; its command line is on every board that has a camera for it.
"""

import re
import shlex
import shutil

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, MissingExtraError
from edgex_runtime.sources.options import MAX_SIDE_PX
from edgex_runtime.sources.pipe import Pipe
from edgex_runtime.sources.program import Program, ProgramSource

LAUNCH = "gst-launch-1.0"
# What is behind is let go of; each picture then says its own size, which may change.
TAIL = (
    "! queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0 ! videoconvert ! "
    "video/x-raw,format=RGB ! pnmenc ! fdsink fd=1 sync=false"
)
MISTAKES = ("erroneous pipeline", "no element", "syntax error", "could not link", "could not set property")


def open_gst(uri: str, clock: Clock) -> ProgramSource:
    """Open ``gst:PIPELINE``, where PIPELINE is what `gst-launch-1.0` takes, without a sink.

    Raises:
        BadInputError: If GStreamer does not understand the pipeline.
        MissingExtraError: If GStreamer is not installed.
        SourceLostError: If it gives no picture.
    """
    pipeline = uri[len("gst:") :].strip()
    try:
        words = shlex.split(pipeline)
    except ValueError as error:
        raise BadInputError(f"{shown(uri)}: a quotation mark is not closed: {error}") from error
    if not words:
        raise BadInputError("gst: want a pipeline that ends in video, such as 'gst:videotestsrc is-live=true'")
    return launch(words, name=shown(uri), clock=clock)


def launch(words: list[str], *, name: str, clock: Clock) -> ProgramSource:
    """Run a pipeline, given as the words of a command line; raises as `open_gst`."""
    program = shutil.which(LAUNCH)
    if program is None:
        raise MissingExtraError(
            f"{name}: {LAUNCH} is not installed: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base "
            "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
        )
    command = [program, "-q", *words, *TAIL.split()]
    source = ProgramSource(Program(command=command, read_picture=read_pnm, mistakes=MISTAKES), name=name, clock=clock)
    source.open()
    return source


def read_pnm(pipe: Pipe) -> NDArray[np.uint8] | None:
    """Read one picture in netpbm's P6 as `pnmenc` writes it; None where there is no whole one."""
    if pipe.line() != b"P6\n":
        return None
    size = re.fullmatch(rb"([0-9]{1,5}) ([0-9]{1,5})\n", pipe.line())
    if size is None or pipe.line() != b"255\n":
        return None
    width, height = int(size[1]), int(size[2])
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        return None
    image = np.empty((height, width, 3), dtype=np.uint8)
    return image if pipe.fill(image.data.cast("B")) == image.size else None
