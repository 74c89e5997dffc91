"""RTP packets → whole pictures: H.264 (RFC 6184) and H.265 (RFC 7798). A picture with a packet missing is none."""

import struct
from dataclasses import dataclass

START = b"\0\0\0\1"
MAX_PICTURE_BYTES = 16 << 20

# H.264: 5 IDR slice, 7 sequence parameters. H.265: 16..21 pictures that need no other, 32, 33 parameters.
_H264_KEYS = frozenset({5, 7})
_H265_KEYS = frozenset({*range(16, 22), 32, 33})
_H264_STAP_A, _H264_FU_A = 24, 28
_H265_AP, _H265_FU, _H265_PACI = 48, 49, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One coded picture, complete.

    Attributes:
        data: NAL units with start codes (ITU-T H.264, annex B).
        key: Whether a decoder can begin with it.
        arrived_ns: When its first packet came.
        index: Counted from the first packet of the stream on; one that was lost leaves a gap.
    """

    data: bytes
    key: bool
    arrived_ns: int
    index: int


class Assembler:
    """Puts pictures together; after a loss it gives none until one that needs no other."""

    def __init__(self, codec: str, payload_type: int) -> None:
        """Begin before the first packet of ``H264`` or ``H265``."""
        self._hevc = codec == "H265"
        self._payload_type = payload_type
        self._sequence: int | None = None
        self._stamp: int | None = None
        self._data = bytearray()
        self._key = False
        self._whole = False
        self._in_fragment = False
        self._arrived_ns = 0
        self._index = -1
        self._waits_for_key = True

    def feed(self, packet: bytes, now_ns: int) -> list[Picture]:
        """Take the packet that came at `now_ns`.

        Returns:
            The pictures that it completes: none, one, or two where the camera does not mark a picture's last packet.
        """
        parsed = _parse(packet)
        if parsed is None or parsed.payload_type != self._payload_type:
            return []
        done = []
        if self._sequence is not None and parsed.sequence != (self._sequence + 1) & 0xFFFF:
            self._lose()
        self._sequence = parsed.sequence
        if parsed.stamp != self._stamp:
            done += self._finish()
            self._begin(parsed.stamp, now_ns)
        if not self._add(parsed.payload):
            self._lose()
        if parsed.marker:
            done += self._finish()
        return done

    def _begin(self, stamp: int, now_ns: int) -> None:
        self._stamp = stamp
        self._data.clear()
        self._key = False
        self._whole = True
        self._in_fragment = False
        self._arrived_ns = now_ns
        self._index += 1

    def _finish(self) -> list[Picture]:
        data, whole = bytes(self._data), self._whole and not self._in_fragment
        self._data.clear()
        self._whole = False
        if not data or not whole:
            self._waits_for_key = self._waits_for_key or bool(data)
            return []
        if self._waits_for_key and not self._key:
            return []
        self._waits_for_key = False
        return [Picture(data=data, key=self._key, arrived_ns=self._arrived_ns, index=self._index)]

    def _lose(self) -> None:
        self._whole = False
        self._waits_for_key = True
        self._data.clear()

    def _add(self, payload: bytes) -> bool:
        """Add one packet's NAL units; False where it does not belong to a whole picture."""
        # The shortest unit is H.264's access unit delimiter.
        if len(payload) < 2 or len(self._data) > MAX_PICTURE_BYTES:
            return False
        kind = (payload[0] >> 1) & 0x3F if self._hevc else payload[0] & 0x1F
        header = 2 if self._hevc else 1
        if kind == (_H265_FU if self._hevc else _H264_FU_A):
            return self._add_fragment(payload, header)
        if self._in_fragment:
            return False
        if kind == (_H265_AP if self._hevc else _H264_STAP_A):
            return self._add_several(payload[header:])
        if kind >= (_H265_PACI if self._hevc else _H264_STAP_A):
            return False
        self._add_unit(payload)
        return True

    def _add_fragment(self, payload: bytes, header: int) -> bool:
        if len(payload) <= header + 1:
            return False
        flags = payload[header]
        first, last, kind = flags & 0x80, flags & 0x40, flags & (0x3F if self._hevc else 0x1F)
        if bool(first) == self._in_fragment:
            return False
        if first:
            if self._hevc:
                self._add_unit(bytes([(payload[0] & 0x81) | kind << 1, payload[1]]) + payload[3:])
            else:
                self._add_unit(bytes([(payload[0] & 0xE0) | kind]) + payload[2:])
        else:
            self._data += payload[header + 1 :]
        self._in_fragment = not last
        return True

    def _add_several(self, units: bytes) -> bool:
        while units:
            size = int.from_bytes(units[:2], "big")
            if len(units) < 2 or size < 1 or len(units) < 2 + size:
                return False
            self._add_unit(units[2 : 2 + size])
            units = units[2 + size :]
        return True

    def _add_unit(self, unit: bytes) -> None:
        kind = (unit[0] >> 1) & 0x3F if self._hevc else unit[0] & 0x1F
        self._key = self._key or kind in (_H265_KEYS if self._hevc else _H264_KEYS)
        self._data += START + unit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packet:
    payload_type: int
    marker: bool
    sequence: int
    stamp: int
    payload: bytes


def _parse(packet: bytes) -> _Packet | None:
    """RFC 3550, 5.1; None where it is no RTP packet."""
    if len(packet) < 12 or packet[0] >> 6 != 2:
        return None
    first, second, sequence, stamp, _ = struct.unpack_from("!BBHII", packet)
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if len(packet) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    end = len(packet) - (packet[-1] if first & 0x20 else 0)
    if end < start:
        return None
    return _Packet(
        payload_type=second & 0x7F,
        marker=bool(second & 0x80),
        sequence=sequence,
        stamp=stamp,
        payload=packet[start:end],
    )
