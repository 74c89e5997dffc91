"""Bytes of a `multipart/x-mixed-replace` stream → its parts, however the network has cut them (RFC 2046, 5.1)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_PART_BYTES = 16 << 20
MAX_HEADER_BYTES = 16 << 10
JPEG_ENDS = (b"\xff\xd9", b"\xff\xd9\r\n")

_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,12})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What stood between two delimiters.

    Attributes:
        data: Without the part's headers.
        started_ns: When the first byte of `data` came.
    """

    data: bytes
    started_ns: int


class OversizedPartError(ValueError):
    """A part, or its headers, that no camera sends."""


class PartParser:
    """Takes a stream apart as it comes; cameras with and without Content-Length, and those that get it wrong."""

    def __init__(self, boundary: bytes) -> None:
        """Begin before the first delimiter.

        Args:
            boundary: As the Content-Type gives it. Many cameras count the two dashes in, some send more of them.
        """
        self._delimiter = b"--" + boundary.lstrip(b"-")
        self._buffer = bytearray()
        self._step: Callable[[int], bool] = self._skip_to_delimiter
        self._scanned = 0
        self._length: int | None = None
        self._started_ns: int | None = None
        self._found: list[Part] = []

    def feed(self, data: bytes, now_ns: int) -> list[Part]:
        """Take the bytes that came at `now_ns`.

        Returns:
            The parts that they complete, in order.

        Raises:
            OversizedPartError: If a part is larger than any picture.
        """
        self._buffer += data
        self._found = []
        while self._step(now_ns):
            pass
        return self._found

    def _skip_to_delimiter(self, _: int) -> bool:
        at = self._buffer.find(self._delimiter)
        if at < 0:
            # The delimiter's beginning may be the last that came.
            del self._buffer[: -len(self._delimiter)]
            return False
        self._cut(at + len(self._delimiter))
        self._step = self._read_headers
        return True

    def _read_headers(self, _: int) -> bool:
        end = _HEADERS_END.search(self._buffer)
        if end is None:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise OversizedPartError(f"a part's headers are longer than {MAX_HEADER_BYTES} bytes")
            return False
        length = _LENGTH.search(self._buffer, 0, end.end())
        self._length = int(length[1]) if length else None
        if self._length is not None and self._length > MAX_PART_BYTES:
            raise OversizedPartError(f"a part announces {self._length} bytes; at most {MAX_PART_BYTES} are taken")
        self._started_ns = None
        self._cut(end.end())
        self._step = self._read_body
        return True

    def _read_body(self, now_ns: int) -> bool:
        if self._buffer and self._started_ns is None:
            self._started_ns = now_ns
        end = self._body_end()
        if end is None:
            if len(self._buffer) > MAX_PART_BYTES:
                raise OversizedPartError(f"a part is longer than {MAX_PART_BYTES} bytes")
            return False
        data = bytes(self._buffer[:end])
        if self._length is None:
            data = data.removesuffix(b"\n").removesuffix(b"\r")
        if data and self._started_ns is not None:
            self._found.append(Part(data=data, started_ns=self._started_ns))
        self._cut(end)
        self._step = self._skip_to_delimiter
        return True

    def _body_end(self) -> int | None:
        if self._length is not None:
            return self._length if len(self._buffer) >= self._length else None
        at = self._buffer.find(self._delimiter, self._scanned)
        self._scanned = max(len(self._buffer) - len(self._delimiter), 0)
        if at >= 0:
            return at
        # A JPEG says where it ends. Waiting for the next delimiter would make every picture a whole period older.
        return len(self._buffer) if self._buffer.endswith(JPEG_ENDS) else None

    def _cut(self, count: int) -> None:
        del self._buffer[:count]
        self._scanned = 0
