"""What may be shown of an address, a source's or a sink's: all but user, password and what looks like a secret."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

HIDDEN = "***"
# A key that holds one of these, whatever stands around it: `api_key`, `X-Amz-Signature`, `user-pw`, `sessionid`.
_SECRET_WORDS = (
    "pass",
    "pwd",
    "pw",
    "psw",
    "secret",
    "token",
    "key",
    "auth",
    "sig",
    "cred",
    "user",
    "usr",
    "login",
    "account",
    "session",
    "sid",
    "jwt",
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//)?")


def shown(uri: str) -> str:
    """Rewrite what a user typed as a source or a sink so that it may stand in a message, a log, a page or a metric.

    A password may hold any character, also those that end a host's name, so all that stands before the last ``@`` is
    hidden. Of a GStreamer pipeline only the first element is told: any of its properties may be a secret. Of a webhook
    only the host is: whoever knows the path may post.

    >>> shown("rtsp://admin:p@ss/word@10.0.0.7:554/1")
    'rtsp://***@10.0.0.7:554/1'
    >>> shown("http://camera/video.mjpg?token=s3cret&size=2#timeout=5s")
    'http://camera/video.mjpg?token=***&size=2#timeout=5s'
    >>> shown("gst:rtspsrc location=rtsp://camera/1 user-pw=s3cret ! decodebin")
    'gst:rtspsrc …'
    >>> shown("webhook+https://me:password@hooks.example/T0/B0/XXXX?code=1")
    'webhook+https://hooks.example/…'
    """
    if re.match(r"gst:", uri, re.IGNORECASE):
        element = re.match(r"\s*([a-z0-9_]*)", uri[4:])
        return f"gst:{element[1] if element else ''} …"
    scheme = _SCHEME.match(uri)
    head, rest = (scheme[0], uri[scheme.end() :]) if scheme else ("", uri)
    if head.lower().startswith("webhook+"):
        return head + _host_alone(rest)
    user, at, place = rest.rpartition("@")
    # Without a scheme and a colon it is a file, whose name may hold any @.
    if at and (scheme or ":" in user):
        # `user:password@host` without its scheme looks as if it had one.
        return (head if head.endswith("//") else "") + HIDDEN + at + _without_secret_values(place, bare=True)
    return head + _without_secret_values(rest, bare=False)


def _host_alone(rest: str) -> str:
    host, path = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]  # matches anything
    # An @ behind the host: of the path, or of a password that was not written as a URI wants it. Which one is unknown.
    return "…" if "@" in path else host.rpartition("@")[2] + ("/…" if path.strip("/") else path)


def scrub(text: str, command: Iterable[str] = ()) -> str:
    """Hide the addresses' secrets, and secret-looking ``key=value``, in a message that somebody else wrote.

    Args:
        text: The message.
        command: What that program was called with: secret-looking values of it are hidden wherever they stand.

    >>> scrub("Could not open rtsp://u:p@camera/1 with user-pw=x")
    'Could not open rtsp://***@camera/1 with user-pw=***'
    """
    for word in command:
        key, _, value = word.partition("=")
        if value and _is_secret(key):
            text = text.replace(value, HIDDEN)
    return re.sub(r"\S+", lambda word: _scrub_word(word[0]), text)


def _scrub_word(word: str) -> str:
    start = re.search(r"[A-Za-z][A-Za-z0-9+.-]*://", word)
    if start is not None:
        return word[: start.start()] + shown(word[start.start() :])
    return _without_secret_values(word, bare=True)


def _without_secret_values(text: str, *, bare: bool) -> str:
    """Hide the values of secret-looking keys; `bare` also where no ``?`` begins the query."""
    start = 0 if bare else min((text.find(mark) for mark in "?#;" if mark in text), default=len(text))
    # A value ends at the next & or #, and at a ; only where another key follows.
    return text[:start] + re.sub(r"([^?&;#=/\s]+)=([^&#]*?)(?=[&#]|;[^;&#=]*=|$)", _hide_value, text[start:])


def _hide_value(pair: re.Match[str]) -> str:
    return f"{pair[1]}={HIDDEN}" if _is_secret(pair[1]) else pair[0]


def _is_secret(key: str) -> bool:
    text = unquote(key).casefold()
    return any(word in text for word in _SECRET_WORDS)
