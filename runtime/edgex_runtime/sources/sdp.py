"""A session description (RFC 8866), as far as one video stream needs it."""

import base64
import binascii
import re
from dataclasses import dataclass
from urllib.parse import urljoin

CODECS = ("H264", "H265")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTrack:
    """The video stream that is asked for.

    Attributes:
        codec: ``H264`` or ``H265``.
        payload_type: RTP's number for it.
        control: The address that SETUP wants.
        parameter_sets: What a decoder needs before the first picture, as NAL units; may be empty.
        fps: As announced; None where it is not.
    """

    codec: str
    payload_type: int
    control: str
    parameter_sets: tuple[bytes, ...]
    fps: float | None


def find_video(text: str, base: str) -> VideoTrack:
    """Find the first video stream that can be decoded.

    Args:
        text: The description.
        base: The address that its relative ones start from.

    Raises:
        ValueError: If there is none; the message names what there is.
    """
    session, *media = re.split(r"^(?=m=)", text, flags=re.MULTILINE)
    found = []
    for section in media:
        track = _video(section, base, session)
        if track is not None and track.codec in CODECS:
            return track
        found.append(track.codec if track else section.split()[0].removeprefix("m="))
    raise ValueError(f"want H.264 or H.265 video, found {', '.join(found) or 'no stream'}")


def _video(section: str, base: str, session: str) -> VideoTrack | None:
    media = re.match(r"m=video \S+ \S+ ([0-9]{1,3})", section)
    if media is None:
        return None
    payload_type = int(media[1])
    coding = _attribute(section, rf"rtpmap:{payload_type} ([A-Za-z0-9-]+)/")
    codec = {"26": "JPEG"}.get(media[1], "unnamed") if coding is None else coding.upper()
    parameters = _attribute(section, rf"fmtp:{payload_type} (.*)") or ""
    rate = _attribute(section, r"framerate:([0-9.]{1,12})")
    return VideoTrack(
        codec={"HEVC": "H265"}.get(codec, codec),
        payload_type=payload_type,
        control=_control(_attribute(section, "control:(.*)"), base, _attribute(session, "control:(.*)")),
        parameter_sets=_parameter_sets(parameters),
        fps=_rate(rate),
    )


def _attribute(text: str, pattern: str) -> str | None:
    found = re.search(rf"^a={pattern}", text, re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else None


def _control(track: str | None, base: str, session: str | None) -> str:
    if session and session != "*":
        base = urljoin(base, session) if _has_scheme(session) else base
    if not track or track == "*":
        return base
    # Appended as cameras expect it, not resolved as a web page's link: the base seldom ends with a slash.
    return track if _has_scheme(track) else f"{base.rstrip('/')}/{track.lstrip('/')}"


def _has_scheme(address: str) -> bool:
    return re.match(r"rtsps?://", address, re.IGNORECASE) is not None


def _parameter_sets(parameters: str) -> tuple[bytes, ...]:
    texts = re.findall(r"(?:sprop-parameter-sets|sprop-vps|sprop-sps|sprop-pps)=([^;\s]+)", parameters)
    units = []
    for text in ",".join(texts).split(","):
        try:
            units.append(base64.b64decode(text, validate=True))
        except binascii.Error:
            # Of no use; cameras send them within the stream, too.
            continue
    return tuple(unit for unit in units if unit)


def _rate(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value <= 1000 else None
