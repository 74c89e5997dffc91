"""A signing key, a folder that is a small bundle, and (for what goes over SSH) a real sshd on loopback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgex_devices.agent.archive import digest
from edgex_devices.agent.manifest import MANIFEST, SIGNATURE, BundledFile, Manifest
from edgex_devices.agent.signature import sign, signer_line
from edgex_devices.keys import SigningKey, new_key


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("keys") / "signing-key", comment="test")


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("keys") / "other-key", comment="somebody else")


@pytest.fixture(scope="session")
def signers(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    path = tmp_path_factory.mktemp("signers") / "allowed_signers"
    path.write_text(signer_line(key.public))
    return path


def write_folder(folder: Path, files: dict[str, bytes], key: SigningKey) -> Path:
    """A signed bundle's folder with any files."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    entries = []
    for name in sorted(files):
        size, sha256 = digest(folder / name)
        entries.append(BundledFile(path=name, size=size, sha256=sha256))
    text = Manifest(app="flowers", board="test", edgex="0", files=tuple(entries)).to_json()
    (folder / MANIFEST).write_bytes(text)
    (folder / SIGNATURE).write_bytes(sign(text, key.private))
    return folder


@pytest.fixture
def bundle_folder(tmp_path: Path, key: SigningKey) -> Path:
    files = {"config.json": b"{}\n", "model/a.onnx": b"weights" * 99, "wheelhouse/empty": b""}
    return write_folder(tmp_path / "bundle", files, key)


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    return write_folder
