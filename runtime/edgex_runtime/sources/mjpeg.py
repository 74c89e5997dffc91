"""MJPEG over HTTP, or snapshots again and again: the newest whole picture, stamped when its first byte came."""

import http.client
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, EdgexError, ImageError, SourceLostError
from edgex_runtime.sources.camera_url import TIMEOUT_S, CameraUrl, parse_camera_url, parse_timeout, tls_context
from edgex_runtime.sources.http_line import FAILURES, Line
from edgex_runtime.sources.jpeg import decode_whole
from edgex_runtime.sources.multipart import MAX_PART_BYTES, OversizedPartError, Part, PartParser
from edgex_runtime.sources.options import parse_choice, parse_fps
from edgex_runtime.sources.receiver import Receiver, Wire
from edgex_runtime.sources.source import Frame, SourceInfo, Unreadable

SNAPSHOT_FPS = 2.0
READ_BYTES = 1 << 16
OPTIONS: dict[str, Callable[[str], object]] = {
    "timeout": parse_timeout,
    "fps": parse_fps,
    "ca": str,
    "verify": parse_choice("yes", "no"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MjpegOptions:
    """What stands after the ``#``.

    Attributes:
        timeout: Seconds in which the camera has to answer, and in which a whole picture has to come.
        fps: How often a snapshot is asked for; a stream has its own rate.
        ca: File with the certificate that an https camera is verified against.
        verify: ``no`` takes any certificate.
    """

    timeout: float = TIMEOUT_S
    fps: float | None = None
    ca: str | None = None
    verify: str = "yes"


class MjpegSource:
    """A receiver keeps the newest picture, undecoded; `read` decodes that one and no other."""

    def __init__(self, url: CameraUrl, options: MjpegOptions, *, clock: Clock) -> None:
        """Store; `open` connects."""
        self._info = SourceInfo(name=url.name, live=True)
        self._options = options
        self._clock = clock
        asked = options.ca is not None or options.verify == "no" or urlsplit(url.address).scheme == "https"
        context = tls_context(options.ca, options.verify) if asked else None
        self._line = Line(url, timeout_s=options.timeout, context=context)
        self._receiver = Receiver(
            Wire(
                name=url.name,
                timeout_s=options.timeout,
                connect=self._connect,
                cut=self._line.cord.cut,
                explain=self._explain,
                failures=FAILURES,
                make_room=deque.clear,
            )
        )
        self._whole_ns = clock.now_ns()

    @property
    def info(self) -> SourceInfo:
        """Live; HTTP names no rate."""
        return self._info

    def open(self) -> None:
        """Connect; raises as `Receiver.open`."""
        self._receiver.open()

    def read(self) -> Frame | Unreadable | None:
        """Wait for a picture that is newer than the last one.

        Raises:
            SourceLostError: If the connection ended, or no whole picture came in time.
        """
        parts = self._receiver.take()
        return self._decode(*parts[-1]) if parts else None

    def interrupt(self) -> None:
        """Cut the connection; a `read` that waits returns None."""
        self._receiver.interrupt()

    def close(self) -> None:
        """Cut the connection and end the thread."""
        self._receiver.close()

    def _decode(self, index: int, part: Part) -> Frame | Unreadable:
        name = f"{self._info.name}#{index}"
        try:
            image = decode_whole(part.data)
        except ImageError as error:
            if self._clock.now_ns() - self._whole_ns > self._options.timeout * 1e9:
                raise SourceLostError(f"{self._info.name}: nothing but damaged pictures: {error}") from error
            return Unreadable(index=index, captured_ns=part.started_ns, name=name, error=f"{name}: {error}")
        self._whole_ns = self._clock.now_ns()
        return Frame(image=image, index=index, captured_ns=part.started_ns, name=name)

    def _explain(self, error: Exception) -> EdgexError:
        if isinstance(error, OversizedPartError):
            return SourceLostError(f"{self._info.name}: {error}")
        return self._line.explain(error)

    def _connect(self) -> Iterator[tuple[int, Part]]:
        response = self._line.get()
        try:
            parts = self._parts(response)
        except EdgexError:
            response.close()
            raise
        return enumerate(parts)

    def _parts(self, response: http.client.HTTPResponse) -> Iterator[Part]:
        boundary = response.headers.get_param("boundary")
        kind = response.headers.get_content_type()
        if kind.startswith("multipart/") and isinstance(boundary, str) and boundary.strip('-"'):
            return self._stream(response, boundary.strip('"'))
        if kind in ("image/jpeg", "image/jpg"):
            return self._snapshots(response)
        raise BadInputError(
            f"{self._info.name}: want an MJPEG stream (multipart/x-mixed-replace) or a JPEG, found {kind}: "
            "look up the stream's own address in the camera's manual"
        )

    def _stream(self, response: http.client.HTTPResponse, boundary: str) -> Iterator[Part]:
        parser = PartParser(boundary.encode("latin-1", "replace"))
        with closing(response):
            while data := response.read1(READ_BYTES):
                yield from parser.feed(data, self._clock.now_ns())

    def _snapshots(self, response: http.client.HTTPResponse) -> Iterator[Part]:
        period_s = 1 / (self._options.fps or SNAPSHOT_FPS)
        while True:
            with closing(response):
                yield self._snapshot(response)
            if self._receiver.pause(period_s):
                return
            response = self._line.get()

    def _snapshot(self, response: http.client.HTTPResponse) -> Part:
        started_ns = self._clock.now_ns()
        data = response.read(MAX_PART_BYTES + 1)
        if len(data) > MAX_PART_BYTES:
            raise OversizedPartError(f"a picture is longer than {MAX_PART_BYTES} bytes")
        return Part(data=data, started_ns=started_ns)


def open_mjpeg(uri: str, clock: Clock) -> MjpegSource:
    """Open ``http://user:password@camera/video.mjpg?its=own#timeout=5s``, or the address of a JPEG.

    Raises:
        BadInputError: If the address, an option, the log-in or what the camera sends cannot be used.
        SourceLostError: If the camera does not answer.
    """
    url = parse_camera_url(uri, OPTIONS)
    options = MjpegOptions(**url.options)  # type: ignore[arg-type]
    source = MjpegSource(url, options, clock=clock)
    source.open()
    return source
