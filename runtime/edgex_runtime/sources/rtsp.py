"""RTSP cameras: H.264 and H.265 by TCP or TLS, stamped when a picture's first packet came, whole pictures only."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from edgex_runtime.clock import Clock
from edgex_runtime.errors import SourceLostError
from edgex_runtime.sources.camera_url import TIMEOUT_S, CameraUrl, parse_camera_url, parse_timeout, tls_context
from edgex_runtime.sources.network import explain
from edgex_runtime.sources.options import parse_choice
from edgex_runtime.sources.receiver import Receiver, Wire
from edgex_runtime.sources.rtp import Assembler, Picture
from edgex_runtime.sources.rtsp_session import FAILURES, RtspSession
from edgex_runtime.sources.sdp import VideoTrack
from edgex_runtime.sources.source import Frame, SourceInfo, Unreadable
from edgex_runtime.sources.video_decoder import DamagedPictureError, VideoDecoder, to_rgb

WAITING_MAX = 90
"""Coded pictures that wait for a decoder that is too slow for the stream; then all are let go, up to a key picture."""
HELD_BACK_MAX = 17
"""Pictures that a stream may hold back to put them in order: 16 by both standards."""
KEY_TIMEOUTS = 3
"""How many time limits a stream may take to a whole picture: many cameras send a key picture every few seconds."""
OPTIONS: dict[str, Callable[[str], object]] = {
    "timeout": parse_timeout,
    "ca": str,
    "verify": parse_choice("yes", "no"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RtspOptions:
    """What stands after the ``#``.

    Attributes:
        timeout: Seconds in which the camera has to answer, and in which its next packet has to come.
        ca: File with the certificate that an rtsps camera is verified against.
        verify: ``no`` takes any certificate.
    """

    timeout: float = TIMEOUT_S
    ca: str | None = None
    verify: str = "yes"


class RtspSource:
    """A receiver puts pictures together; `read` decodes all that have come, and gives the newest."""

    def __init__(self, url: CameraUrl, options: RtspOptions, *, clock: Clock) -> None:
        """Store; `open` connects."""
        self._url = url
        self._options = options
        self._clock = clock
        encrypted = urlsplit(url.address).scheme == "rtsps"
        context = tls_context(options.ca, options.verify) if encrypted else None
        self._session = RtspSession(url, timeout_s=options.timeout, context=context)
        self._track: VideoTrack | None = None
        self._decoder: VideoDecoder | None = None
        self._receiver = Receiver(
            Wire(
                name=url.name,
                timeout_s=options.timeout,
                connect=self._connect,
                cut=self._session.cord.cut,
                explain=lambda error: explain(error, name=url.name, timeout_s=options.timeout),
                failures=FAILURES,
                make_room=make_room,
            )
        )
        self._whole_ns = clock.now_ns()
        self._next_index = 0
        self._decoding: deque[Picture] = deque(maxlen=HELD_BACK_MAX)

    @property
    def info(self) -> SourceInfo:
        """Live; the rate that the camera announces, if any."""
        return SourceInfo(name=self._url.name, live=True, fps=self._track.fps if self._track else None)

    def open(self) -> None:
        """Connect; raises as `Receiver.open`."""
        self._receiver.open()

    def read(self) -> Frame | Unreadable | None:
        """Wait for a picture that is newer than the last one.

        Raises:
            SourceLostError: If the connection ended, or no whole picture came in time.
        """
        while pictures := self._receiver.take():
            item = self._decode(pictures)
            if isinstance(item, Frame):
                self._whole_ns = self._clock.now_ns()
            elif self._clock.now_ns() - self._whole_ns > KEY_TIMEOUTS * self._options.timeout * 1e9:
                raise SourceLostError(
                    f"{self._url.name}: no whole picture within {KEY_TIMEOUTS * self._options.timeout:g} s: set the "
                    "camera's key-frame interval to 2 s or less, or give #timeout= a higher value"
                )
            if item is not None:
                return item
        return None

    def interrupt(self) -> None:
        """Cut the connection; a `read` that waits returns None."""
        self._receiver.interrupt()

    def close(self) -> None:
        """Cut the connection and end the thread."""
        self._receiver.close()

    def _decode(self, pictures: list[Picture]) -> Frame | Unreadable | None:
        """Decode all, in order; convert the newest only."""
        if self._decoder is None:
            # Here, in the thread that uses it.
            assert self._track is not None
            self._decoder = VideoDecoder(self._track.codec, self._track.parameter_sets)
        newest = damaged = None
        for picture in pictures:
            if picture.index != self._next_index and not picture.key:
                # It builds on one that was lost on the way, or let go: no decoder notices that.
                continue
            self._next_index = picture.index + 1
            self._decoding.append(replace(picture, data=b""))
            try:
                frame = self._decoder.decode(picture.data, picture.index)
            except DamagedPictureError as error:
                text = f"{self._name(picture)}: {error}"
                damaged = Unreadable(
                    index=picture.index, captured_ns=picture.arrived_ns, name=self._name(picture), error=text
                )
                continue
            newest = frame if frame is not None else newest
        if newest is None:
            return damaged
        image = to_rgb(newest)
        # Not the last that went in, where the stream holds pictures back: it would look younger than it is.
        picture = next((shown for shown in self._decoding if shown.index == newest.pts), self._decoding[0])
        return Frame(image=image, index=picture.index, captured_ns=picture.arrived_ns, name=self._name(picture))

    def _name(self, picture: Picture) -> str:
        return f"{self._url.name}#{picture.index}"

    def _connect(self) -> Iterator[Picture]:
        try:
            self._track = self._session.play()
        except BaseException:
            self._session.close()
            raise
        return self._pictures(Assembler(self._track.codec, self._track.payload_type))

    def _pictures(self, assembler: Assembler) -> Iterator[Picture]:
        try:
            for packet in self._session.packets():
                yield from assembler.feed(packet, self._clock.now_ns())
        finally:
            self._session.close()


def make_room(waiting: deque[Picture]) -> None:
    """Let go of coded pictures that need no decoding: those before a newer key picture, all where too many wait."""
    if waiting and waiting[-1].key:
        key = waiting.pop()
        waiting.clear()
        waiting.append(key)
    elif len(waiting) >= WAITING_MAX:
        waiting.clear()


def open_rtsp(uri: str, clock: Clock) -> RtspSource:
    """Open ``rtsp://user:password@camera/path#timeout=5s`` or ``rtsps://…``.

    Raises:
        BadInputError: If the address, an option, the log-in or the stream cannot be used.
        SourceLostError: If the camera does not answer.
    """
    url = parse_camera_url(uri, OPTIONS)
    options = RtspOptions(**url.options)  # type: ignore[arg-type]
    source = RtspSource(url, options, clock=clock)
    source.open()
    return source
