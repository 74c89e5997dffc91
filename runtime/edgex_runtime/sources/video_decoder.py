"""Coded pictures → pixels by PyAV's FFmpeg, one at a time and without delay; one that is not whole is none.

PyAV and not OpenCV, whose FFMPEG gives half a picture as a whole one and does not say so.
"""

from collections.abc import Sequence

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

DECODERS = {"H264": "h264", "H265": "hevc"}


class DamagedPictureError(ValueError):
    """The picture could not be decoded whole, and the next ones build on it."""


class VideoDecoder:
    """Decodes one stream; its pictures may change their size."""

    def __init__(self, codec: str, parameter_sets: Sequence[bytes]) -> None:
        """Begin a stream of ``H264`` or ``H265`` with the parameters that were announced beside it."""
        context = av.CodecContext.create(DECODERS[codec], "r")
        assert isinstance(context, VideoCodecContext)
        # Frame threads would hold back as many pictures as there are threads.
        context.thread_type = "SLICE"
        context.thread_count = 1
        context.flags |= av.codec.context.Flags.low_delay
        self._context = context
        self._head = b"".join(b"\0\0\0\1" + unit for unit in parameter_sets)
        self._waits_for_key = True

    def decode(self, data: bytes, number: int) -> av.VideoFrame | None:
        """Decode one picture.

        Args:
            data: Its NAL units, with start codes.
            number: Of the picture.

        Returns:
            The newest picture that can be shown, its number as `pts`: an earlier one where the stream holds pictures
            back to put them in order. None where there is none yet.

        Raises:
            DamagedPictureError: If it is not whole; until one comes that needs no other, all the next ones are damaged.
        """
        packet = av.Packet(self._head + data)
        packet.pts = number
        self._head = b""
        try:
            frames = self._context.decode(packet)
        except av.error.FFmpegError as error:
            self._waits_for_key = True
            raise DamagedPictureError("the decoder refuses it") from error
        newest = None
        for frame in frames:
            if frame.is_corrupt or (self._waits_for_key and not frame.key_frame):
                self._waits_for_key = True
                raise DamagedPictureError("it is not whole, or builds on one that was not")
            self._waits_for_key = False
            newest = frame
        return newest


def to_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, C-contiguous, by the stream's own colour matrix."""
    image: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(image)
