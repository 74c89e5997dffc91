"""MJPEG over HTTP, or snapshots again and again: the newest whole picture, stamped when its first byte came."""

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, EdgexError, ImageError, SourceLostError
from edgex_runtime.sources.camera_url import TIMEOUT_S, CameraUrl, parse_camera_url, parse_timeout
from edgex_runtime.sources.http_line import FAILURES, Line
from edgex_runtime.sources.jpeg import decode_whole
from edgex_runtime.sources.multipart import MAX_PART_BYTES, OversizedPartError, Part, PartParser
from edgex_runtime.sources.options import parse_choice, parse_fps
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
    """A thread reads all that the camera sends, and keeps its newest picture undecoded; `read` decodes that one."""

    def __init__(self, url: CameraUrl, options: MjpegOptions, *, clock: Clock) -> None:
        """Store; `open` connects."""
        self._info = SourceInfo(name=url.name, live=True)
        self._options = options
        self._clock = clock
        self._line = Line(url, timeout_s=options.timeout, context=_context(options))
        self._thread = threading.Thread(target=self._receive, name="edgex-mjpeg", daemon=True)
        self._changed = threading.Condition()
        self._newest: tuple[int, Part] | None = None
        self._count = 0
        self._answered = False
        self._closed = False
        self._error: EdgexError | None = None
        self._whole_ns = clock.now_ns()

    @property
    def info(self) -> SourceInfo:
        """Live; HTTP names no rate."""
        return self._info

    def open(self) -> None:
        """Connect, and wait for the camera's answer.

        Raises:
            BadInputError: If the address, the log-in or what the camera sends cannot be used.
            SourceLostError: If no answer comes in time.
        """
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._answered or self._error, self._options.timeout)
            error, answered = self._error, self._answered
        if not answered:
            self.close()
            raise error or SourceLostError(f"{self._info.name}: no answer within {self._options.timeout:g} s")

    def read(self) -> Frame | Unreadable | None:
        """Wait for a picture that is newer than the last one.

        Raises:
            SourceLostError: If the connection ended, or no whole picture came in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._error or self._closed, self._options.timeout)
            newest, self._newest = self._newest, None
            if self._closed:
                return None
            if newest is None:
                raise self._error or SourceLostError(
                    f"{self._info.name}: no picture within {self._options.timeout:g} s: the camera hangs or is cut off"
                )
        return self._decode(*newest)

    def interrupt(self) -> None:
        """Cut the connection; a `read` that waits returns."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._line.cut()

    def close(self) -> None:
        """Cut the connection and wait for the thread, which may still be looking up the host's name."""
        self.interrupt()
        if self._thread.ident is not None:
            self._thread.join(1.0)

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

    def _receive(self) -> None:
        error: EdgexError
        try:
            for part in self._parts():
                self._keep(part)
                if self._closed:
                    break
            error = SourceLostError(f"{self._info.name}: the camera ended the stream")
        except EdgexError as failure:
            error = failure
        except OversizedPartError as failure:
            error = SourceLostError(f"{self._info.name}: {failure}")
        except FAILURES as failure:
            error = self._line.explain(failure)
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _keep(self, part: Part) -> None:
        with self._changed:
            self._newest = (self._count, part)
            self._count += 1
            self._changed.notify_all()

    def _parts(self) -> Iterator[Part]:
        with closing(self._line.get()) as response:
            boundary = response.headers.get_param("boundary")
            kind = response.headers.get_content_type()
            if kind.startswith("multipart/") and isinstance(boundary, str) and boundary.strip('-"'):
                self._note_answer()
                yield from self._stream(response, boundary.strip('"'))
                return
            if kind not in ("image/jpeg", "image/jpg"):
                raise BadInputError(
                    f"{self._info.name}: want an MJPEG stream (multipart/x-mixed-replace) or a JPEG, found {kind}: "
                    "look up the stream's own address in the camera's manual"
                )
            self._note_answer()
            yield self._snapshot(response)
        yield from self._snapshots()

    def _stream(self, response: http.client.HTTPResponse, boundary: str) -> Iterator[Part]:
        parser = PartParser(boundary.encode("latin-1", "replace"))
        while data := response.read1(READ_BYTES):
            yield from parser.feed(data, self._clock.now_ns())

    def _snapshots(self) -> Iterator[Part]:
        period_s = 1 / (self._options.fps or SNAPSHOT_FPS)
        while not self._pause(period_s):
            with closing(self._line.get()) as response:
                yield self._snapshot(response)

    def _snapshot(self, response: http.client.HTTPResponse) -> Part:
        started_ns = self._clock.now_ns()
        data = response.read(MAX_PART_BYTES + 1)
        if len(data) > MAX_PART_BYTES:
            raise OversizedPartError(f"a picture is longer than {MAX_PART_BYTES} bytes")
        return Part(data=data, started_ns=started_ns)

    def _pause(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, seconds)

    def _note_answer(self) -> None:
        with self._changed:
            self._answered = True
            self._changed.notify_all()


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


def _context(options: MjpegOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca)
    except (OSError, ValueError) as error:
        raise BadInputError(f"ca={options.ca}: want a file with a certificate in PEM, found none: {error}") from error
    if options.verify == "no":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
