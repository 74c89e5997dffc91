"""A USB camera made of software, plugged into this very kernel: what it sends is what a test hands in.

The kernel's USB/IP host (`vhci-hcd`) takes a socket for a cable; on the other end this answers as a camera of the USB
Video Class does, with MJPEG and a bulk endpoint. So the driver (`uvcvideo`), /dev/videoN and OpenCV on top are real.
Protocol: https://docs.kernel.org/usb/usbip_protocol.html; descriptors: USB Device Class Definition for Video Devices.
"""

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

PORT = 0
ATTACH, DETACH = (Path("/sys/devices/platform/vhci_hcd.0") / name for name in ("attach", "detach"))
HIGH_SPEED = 3
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4
PIPE_ERROR, CONNECTION_RESET = -32, -104
ENDPOINT = 0x81
PAYLOAD_BYTES = 1 << 17
PERIOD_100NS = 1_000_000
END_OF_HEADER, END_OF_FRAME = 0x80, 0x02
PROBE, COMMIT = 1, 2


def _block(*parts: bytes) -> bytes:
    """A descriptor: its length comes first."""
    body = b"".join(parts)
    return bytes([len(body) + 1]) + body


def _configuration(size: tuple[int, int]) -> bytes:
    terminals = _block(b"\x24\x02\x01", struct.pack("<HBBHHHBH", 0x0201, 0, 0, 0, 0, 0, 2, 0))
    terminals += _block(b"\x24\x03\x02", struct.pack("<HBBB", 0x0101, 0, 1, 0))
    control = _block(b"\x24\x01", struct.pack("<HHIBB", 0x0100, 13 + len(terminals), 48_000_000, 1, 1)) + terminals
    formats = _block(b"\x24\x06", bytes([1, 1, 1, 1, 0, 0, 0, 0]))
    rates = struct.pack("<IIIIBI", 1 << 20, 1 << 28, PAYLOAD_BYTES, PERIOD_100NS, 1, PERIOD_100NS)
    formats += _block(b"\x24\x07", bytes([1, 0]), struct.pack("<HH", *size), rates)
    formats += _block(b"\x24\x0d", bytes([1, 1, 4]))
    stream = (
        _block(b"\x24\x01", struct.pack("<BHB", 1, 14 + len(formats), ENDPOINT), bytes([0, 2, 0, 0, 0, 1, 0])) + formats
    )
    body = _block(b"\x0b", bytes([0, 2, 0x0E, 0x03, 0, 0]))
    body += _block(b"\x04", bytes([0, 0, 0, 0x0E, 0x01, 0, 0])) + control
    body += _block(b"\x04", bytes([1, 0, 1, 0x0E, 0x02, 0, 0])) + stream
    body += _block(b"\x05", struct.pack("<BBHB", ENDPOINT, 2, 512, 0))
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 50) + body


class UsbCamera:
    """Gives one frame each tenth of a second, from `frames` in turn, for as long as it is plugged in."""

    def __init__(self, frames: Iterator[bytes], size: tuple[int, int]) -> None:
        self._frames = frames
        device = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0102, 0x0100, 0, 0, 0, 1)
        self._descriptors = {1: device, 2: _configuration(size)}
        self._probe = struct.pack("<HBBIHHHHHII", 0, 1, 1, PERIOD_100NS, 0, 0, 0, 0, 0, PAYLOAD_BYTES, PAYLOAD_BYTES)
        self._cable, self._kernels = socket.socketpair()
        self._wanted: deque[tuple[int, int]] = deque()
        self._lock = threading.Condition()
        self._toggle = 0

    def plug_in(self) -> None:
        """Let the kernel find it."""
        for run in (self._answer, self._stream):
            threading.Thread(target=run, daemon=True).start()
        ATTACH.write_text(f"{PORT} {self._kernels.fileno()} 1 {HIGH_SPEED}")

    def unplug(self) -> None:
        """Pull the cable."""
        DETACH.write_text(f"{PORT}")

    def _answer(self) -> None:
        while head := self._take(48):
            command, number, _, is_in, endpoint = struct.unpack_from(">5I", head)
            if command == UNLINK:
                self._unlink(number, struct.unpack_from(">I", head, 20)[0])
                continue
            (length,) = struct.unpack_from(">i", head, 24)
            data = b"" if is_in else self._take(length)
            if endpoint == ENDPOINT & 0x0F:
                with self._lock:
                    self._wanted.append((number, length))
                    self._lock.notify_all()
            else:
                answer = self._control(*struct.unpack_from("<BBHHH", head, 40), data)
                self._reply(number, PIPE_ERROR if answer is None else 0, answer or b"", length, is_in=bool(is_in))

    def _control(self, kind: int, request: int, value: int, index: int, length: int, data: bytes) -> bytes | None:
        """What a request gets; None for one that this camera does not know."""
        if kind == 0x80 and request == 6:
            found = self._descriptors.get(value >> 8)
            return None if found is None else found[:length]
        if kind in (0x80, 0x81, 0x82) and request == 0:
            return b"\0\0"
        if kind in (0x00, 0x01, 0x02):
            return b""
        if kind & 0x7F == 0x21 and index == 1 and value >> 8 in (PROBE, COMMIT):
            answers = {0x85: struct.pack("<H", len(self._probe)), 0x86: b"\x03"}
            return b"" if request == 1 else answers.get(request, self._probe)[:length]
        return None

    def _stream(self) -> None:
        while True:
            time.sleep(PERIOD_100NS / 1e7)
            self._toggle ^= 1
            rest = bytes([2, END_OF_HEADER | END_OF_FRAME | self._toggle]) + next(self._frames)
            is_over = False
            while not is_over:
                # A payload goes on over several transfers, and ends with one that is not full.
                with self._lock:
                    self._lock.wait_for(lambda: self._wanted)
                    number, length = self._wanted.popleft()
                part, rest = rest[:length], rest[length:]
                is_over = len(part) < length
                self._reply(number, 0, part, length, is_in=True)

    def _unlink(self, number: int, unwanted: int) -> None:
        with self._lock:
            kept = [one for one in self._wanted if one[0] != unwanted]
            found = len(kept) < len(self._wanted)
            self._wanted = deque(kept)
        self._send(struct.pack(">5Ii24x", UNLINKED, number, 0, 0, 0, CONNECTION_RESET if found else 0))

    def _reply(self, number: int, status: int, data: bytes, length: int, *, is_in: bool) -> None:
        done = len(data) if is_in else length
        self._send(
            struct.pack(">5Iiiiii8x", SUBMITTED, number, 0, 0, 0, status, done, 0, 0, 0) + (data if is_in else b"")
        )

    def _send(self, message: bytes) -> None:
        self._cable.sendall(message)

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._cable.recv(size - len(data))
            if not part:
                return b""
            data += part
        return data
