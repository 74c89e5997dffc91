"""What an RTSP camera says, made by hand: its description, and pictures as RTP packets."""

from edgex_runtime.sources.rtp import START

SDP = (
    "v=0\r\ns=x\r\na=control:*\r\nm=audio 0 RTP/AVP 0\r\na=control:track0\r\nm=video 0 RTP/AVP 97\r\n"
    "a=rtpmap:97 {codec}/90000\r\na=fmtp:97 packetization-mode=1;sprop-parameter-sets=Z0IAH5Y=,aM48gA==,***\r\n"
    "a=framerate:12.5\r\na=control:{control}\r\n"
)


def packet(sequence: int, stamp: int, payload: bytes, *, marker: bool = False) -> bytes:
    head = bytes([0x80, 96 | marker << 7]) + (sequence & 0xFFFF).to_bytes(2, "big") + stamp.to_bytes(4, "big")
    return head + b"\0\0\0\1" + payload


def fragments(unit: bytes, size: int, *, hevc: bool) -> list[bytes]:
    """One NAL unit as RTP payloads of at most `size` bytes."""
    header = 2 if hevc else 1
    kind = (unit[0] >> 1) & 0x3F if hevc else unit[0] & 0x1F
    lead = bytes([(unit[0] & 0x81) | 49 << 1, unit[1]]) if hevc else bytes([(unit[0] & 0xE0) | 28])
    chunks = [unit[at : at + size] for at in range(header, len(unit), size)]
    flags = [0x80 * (at == 0) | 0x40 * (at == len(chunks) - 1) for at in range(len(chunks))]
    return [lead + bytes([flag | kind]) + chunk for flag, chunk in zip(flags, chunks, strict=True)]


def stream(pictures: list[bool], *, hevc: bool, size: int = 7) -> tuple[list[bytes], list[bytes]]:
    """Packets of pictures that are key or not, each of three fragments, and the pictures' data."""
    packets, data = [], []
    for number, key in enumerate(pictures):
        kind = (19 if key else 1) if hevc else (5 if key else 1)
        unit = (bytes([kind << 1, 1]) if hevc else bytes([0x60 | kind])) + bytes([number] * 3 * size)
        parts = fragments(unit, size, hevc=hevc)
        for at, payload in enumerate(parts):
            # Across the wrap of the 16-bit counter.
            packets.append(packet(65530 + len(packets), number * 3000, payload, marker=at == len(parts) - 1))
        data.append(START + unit)
    return packets, data
