"""What a camera wants to hear before it lets somebody in: Basic, and Digest (RFC 7616)."""

import base64
import hashlib
import re
import secrets

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def authorization(challenges: list[str], credentials: tuple[str, str], method: str, uri: str) -> str | None:
    """Answer the first challenge that can be answered, Digest before Basic.

    Args:
        challenges: Values of `WWW-Authenticate`.
        credentials: User and password.
        method: RTSP's, such as ``DESCRIBE``.
        uri: As it stands in the request's first line.

    Returns:
        The value of `Authorization`; None where no challenge is known.
    """
    user, password = credentials
    digests = [fields for challenge in challenges if (fields := _digest_fields(challenge))]
    if digests:
        return _digest(digests[0], user, password, method, uri)
    if any(re.match(r"basic\b", challenge, re.IGNORECASE) for challenge in challenges):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return None


def _digest_fields(challenge: str) -> dict[str, str] | None:
    if not re.match(r"digest\s", challenge, re.IGNORECASE):
        return None
    pairs = re.findall(r'([a-z]+)\s*=\s*(?:"([^"]*)"|([^\s,]+))', challenge[6:], re.IGNORECASE)
    fields = {key.lower(): quoted or bare for key, quoted, bare in pairs}
    known = fields.get("algorithm", "MD5").upper() in _HASHES
    return fields if known and {"realm", "nonce"} <= fields.keys() else None


def _digest(fields: dict[str, str], user: str, password: str, method: str, uri: str) -> str:
    algorithm = fields.get("algorithm", "MD5").upper()

    def hashed(text: str) -> str:
        return _HASHES[algorithm](text.encode()).hexdigest()

    first, second = hashed(f"{user}:{fields['realm']}:{password}"), hashed(f"{method}:{uri}")
    said = {"username": user, "realm": fields["realm"], "nonce": fields["nonce"], "uri": uri}
    text = ", ".join(f'{key}="{value}"' for key, value in said.items())
    if "auth" in re.split(r"[\s,]+", fields.get("qop", "")):
        nonce = secrets.token_hex(8)
        response = hashed(f"{first}:{fields['nonce']}:00000001:{nonce}:auth:{second}")
        text += f', qop=auth, nc=00000001, cnonce="{nonce}"'
    else:
        response = hashed(f"{first}:{fields['nonce']}:{second}")
    if "opaque" in fields:
        text += f', opaque="{fields["opaque"]}"'
    return f'Digest {text}, response="{response}", algorithm={algorithm}'
