"""Signatures by OpenSSH (`ssh-keygen -Y`), which every board that is deployed to over SSH has (docs/adr/0011)."""

import base64
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgex_runtime.errors import BundleError

NAMESPACE = "edgex-bundle"
PRINCIPAL = "edgex"
MAX_SIGNATURE_BYTES = 4096
_KIND = b"ssh-ed25519"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
# How OpenSSH folds it; a signature that is folded otherwise was touched.
_WIDTH = 70
_PREAMBLE = b"SSHSIG\0\0\0\1"


def verify(data: bytes, signature: bytes, signers: bytes) -> str:
    """Hold a signature to those who are trusted.

    Args:
        data: What was signed.
        signature: As `ssh-keygen -Y sign` wrote it.
        signers: An ``allowed_signers`` file's text.

    Returns:
        The signing key's fingerprint, ``SHA256:…``.

    Raises:
        BundleError: If it is missing, damaged, by somebody else, or of other data.
    """
    key = signing_key(signature)
    shown = fingerprint(key)
    if key not in trusted_keys(signers):
        raise BundleError(
            f"signature: the bundle is signed by {shown}, whom this board does not trust: sign it with the key that "
            "the board knows, or add this one with `edgex deploy … --trust-key`"
        )
    with _in_memory(signature) as signature_file, _in_memory(signers) as signers_file:
        options = ["-f", signers_file, "-I", PRINCIPAL, "-n", NAMESPACE, "-s", signature_file]
        done = _keygen(["-Y", "verify", *options], data)
    if done.returncode:
        raise BundleError(
            f"signature: it does not belong to these bytes ({shown}): the bundle was changed; copy it again"
        )
    return shown


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A file that a child may read and that takes no room on the disk."""
    descriptor = os.memfd_create("edgex")
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        file.write(data)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"


def sign(data: bytes, key: Path) -> bytes:
    """Sign with a private key's file.

    Raises:
        BundleError: If the key cannot be used.
    """
    done = _keygen(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE], data)
    if done.returncode:
        raise BundleError(f"{key}: it cannot sign: {done.stderr.decode(errors='replace').strip()}")
    signing_key(done.stdout)
    return done.stdout


def signing_key(signature: bytes) -> bytes:
    """The public key that a signature names, unverified.

    Raises:
        BundleError: If it is none by an ed25519 key, written as OpenSSH writes it.
    """
    try:
        lines = signature.decode("ascii").split("\n")
        blob = base64.b64decode("".join(lines[1:-2]), validate=True)
    except ValueError:
        blob = b""
    if armour(blob) != signature or not blob.startswith(_PREAMBLE):
        raise BundleError("signature: want one as `ssh-keygen -Y sign` writes it; it is missing, or was changed")
    key = _string(blob, len(_PREAMBLE))
    if _string(key, 0) != _KIND:
        raise BundleError("signature: want one by an ed25519 key (`edgex keys new`), it is by another kind of key")
    return key


def armour(blob: bytes) -> bytes:
    """A signature as OpenSSH writes it: one text for the same signature, so that no byte of it can differ unnoticed."""
    text = base64.b64encode(blob).decode()
    body = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    return "\n".join([_BEGIN, *body, _END, ""]).encode()


def trusted_keys(signers: bytes) -> set[bytes]:
    """The keys of an ``allowed_signers`` file."""
    lines = signers.decode("utf-8").splitlines()
    return {public_key(line) for line in lines if line.strip() and not line.startswith("#")}


def signer_line(public: str) -> str:
    """The line of an ``allowed_signers`` file for a line of a ``.pub`` file."""
    public_key(public)
    return f'{PRINCIPAL} namespaces="{NAMESPACE}" {public.strip()}\n'


def public_key(line: str) -> bytes:
    """The key in a line of a ``.pub`` or ``allowed_signers`` file.

    Raises:
        BundleError: If there is no ed25519 key in it.
    """
    words = line.split()
    at = words.index(_KIND.decode()) + 1 if _KIND.decode() in words else len(words)
    try:
        key = base64.b64decode(words[at], validate=True)
    except (IndexError, ValueError):
        raise BundleError(f"public key: want a line `ssh-ed25519 AAAA…`, got {line[:60]!r}") from None
    return key


def fingerprint(key: bytes) -> str:
    """As `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _string(blob: bytes, at: int) -> bytes:
    size = int.from_bytes(blob[at : at + 4], "big")
    return blob[at + 4 : at + 4 + size]


def _keygen(arguments: list[str], data: bytes) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(["ssh-keygen", *arguments], input=data, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise BundleError("ssh-keygen is not here: apt install openssh-client") from error
