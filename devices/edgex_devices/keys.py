"""The key that bundles are signed with: an ed25519 key of OpenSSH's, kept on the host and never in a bundle."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgex_devices.agent.signature import fingerprint, public_key
from edgex_runtime.errors import BadInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key on this machine.

    Attributes:
        private: Its file; only its owner reads it.
        public: The line of the ``.pub`` file beside it.
    """

    private: Path
    public: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: ``SHA256:…``."""
        return fingerprint(public_key(self.public))


def default_key_path() -> Path:
    """``edgex/signing-key`` in the user's folder of settings."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "edgex" / "signing-key"


def new_key(path: Path, *, comment: str) -> SigningKey:
    """Make a key; its owner alone may read it (0600). `ssh-keygen -p` gives it a passphrase.

    Raises:
        BadInputError: If there is one already, or it cannot be written.
    """
    if path.exists():
        raise BadInputError(f"{path}: there is a key already; boards trust it: choose another --key, or keep it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be made: {error}") from error
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise BadInputError("ssh-keygen is not here: apt install openssh-client") from error
    if done.returncode:
        raise BadInputError(f"{path}: no key could be made: {(done.stderr or done.stdout).strip()}")
    return load_key(path)


def load_public(path: Path) -> str:
    """The line of the public key beside `path`, which is all that verifying wants.

    Raises:
        BadInputError: If there is none, or it is no ed25519 key.
    """
    file = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        line = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadInputError(f"{file}: there is no public key: make a key with `edgex keys new`") from error
    public_key(line)
    return line


def load_key(path: Path) -> SigningKey:
    """The key at `path`.

    Raises:
        BadInputError: If there is none, it is no ed25519 key, or others may read it.
    """
    public = path.with_name(f"{path.name}.pub")
    try:
        mode, line = path.stat().st_mode, public.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadInputError(f"{path}: there is no signing key: make one with `edgex keys new`") from error
    public_key(line)
    if mode & 0o077:
        raise BadInputError(f"{path}: others may read it (mode {mode & 0o777:o}): chmod 600 {path}")
    return SigningKey(private=path, public=line)
