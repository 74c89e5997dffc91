"""What unpacking refuses: everything but the bytes that were signed."""

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgex_devices.agent.archive import check_folder, header, unpack, write_archive
from edgex_devices.agent.manifest import MANIFEST, SIGNATURE, Manifest
from edgex_devices.agent.signature import sign
from edgex_devices.keys import SigningKey
from edgex_runtime.errors import BundleError


@pytest.fixture
def archive(tmp_path: Path, bundle_folder: Path) -> Path:
    write_archive(tmp_path / "a.edgex", bundle_folder)
    return tmp_path / "a.edgex"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_unpacks_what_was_packed(archive: Path, bundle_folder: Path, signers: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "out", signers)
    assert files_of(tmp_path / "out") == files_of(bundle_folder)
    check_folder(tmp_path / "out", signers)


def test_the_same_folder_gives_the_same_bytes(archive: Path, bundle_folder: Path, tmp_path: Path) -> None:
    for path in bundle_folder.rglob("*"):
        path.touch()
        path.chmod(0o755)
    write_archive(tmp_path / "b.edgex", bundle_folder)
    assert (tmp_path / "b.edgex").read_bytes() == archive.read_bytes()


def test_tar_reads_it_and_ssh_keygen_verifies_it(archive: Path, signers: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "xf", archive, "-C", tmp_path], check=True)
    options = ["-f", signers, "-I", "edgex", "-n", "edgex-bundle", "-s", tmp_path / SIGNATURE]
    subprocess.run(["ssh-keygen", "-Y", "verify", *options], input=(tmp_path / MANIFEST).read_bytes(), check=True)


@settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_refuses_one_changed_byte_anywhere(data: st.DataObject, archive: Path, signers: Path, tmp_path: Path) -> None:
    good = archive.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[place] ^= data.draw(st.integers(1, 255))
    bad = tmp_path / "bad.edgex"
    bad.write_bytes(changed)
    with pytest.raises(BundleError):
        unpack(bad, tmp_path / "out", signers)
    assert not (tmp_path / "out").exists()


def test_refuses_every_flip_in_the_signature(archive: Path, signers: Path, tmp_path: Path) -> None:
    good = archive.read_bytes()
    start = good.index(b"-----BEGIN")
    end = good.index(b"-----END SSH SIGNATURE-----\n") + 28
    for place in range(start, end):
        bad = tmp_path / "bad.edgex"
        bad.write_bytes(good[:place] + bytes([good[place] ^ 0x20]) + good[place + 1 :])
        with pytest.raises(BundleError):
            unpack(bad, tmp_path / "out", signers)


@pytest.mark.parametrize("kept", [0, 100, 512, 2000, -1024, -1])
def test_refuses_an_archive_that_was_cut(archive: Path, signers: Path, tmp_path: Path, kept: int) -> None:
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(BundleError):
        unpack(archive, tmp_path / "out", signers)


def test_refuses_something_behind_the_end(archive: Path, signers: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(BundleError, match="behind its end"):
        unpack(archive, tmp_path / "out", signers)


def test_refuses_a_bundle_that_somebody_else_has_signed(
    bundle_folder: Path, other_key: SigningKey, signers: Path, tmp_path: Path
) -> None:
    (bundle_folder / SIGNATURE).write_bytes(sign((bundle_folder / MANIFEST).read_bytes(), other_key.private))
    write_archive(tmp_path / "a.edgex", bundle_folder)
    with pytest.raises(BundleError, match=r"signed by SHA256:.*does not trust"):
        unpack(tmp_path / "a.edgex", tmp_path / "out", signers)


def test_refuses_a_missing_signature(bundle_folder: Path, signers: Path, tmp_path: Path) -> None:
    (bundle_folder / SIGNATURE).write_bytes(b"")
    write_archive(tmp_path / "a.edgex", bundle_folder)
    with pytest.raises(BundleError, match="signature"):
        unpack(tmp_path / "a.edgex", tmp_path / "out", signers)


def test_refuses_a_signature_by_another_kind_of_key(bundle_folder: Path, signers: Path, tmp_path: Path) -> None:
    rsa = tmp_path / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa], check=True)
    with pytest.raises(BundleError, match="ed25519"):
        sign((bundle_folder / MANIFEST).read_bytes(), rsa)


HOSTILE = {
    "a parent folder": tarfile.TarInfo("../../escape"),
    "an absolute name": tarfile.TarInfo("/etc/escape"),
    "a link": tarfile.TarInfo("config.json"),
    "a device": tarfile.TarInfo("config.json"),
    "a folder": tarfile.TarInfo("config.json"),
}
HOSTILE["a link"].type, HOSTILE["a link"].linkname = tarfile.SYMTYPE, "/etc/passwd"
HOSTILE["a device"].type = tarfile.CHRTYPE
HOSTILE["a folder"].type = tarfile.DIRTYPE


@pytest.mark.parametrize("what", HOSTILE)
def test_refuses_members_that_other_archives_have(
    what: str, bundle_folder: Path, signers: Path, tmp_path: Path
) -> None:
    """Behind a manifest and a signature that are good."""
    archive = io.BytesIO()
    for name in (MANIFEST, SIGNATURE):
        data = (bundle_folder / name).read_bytes()
        archive.write(header(name, len(data)) + data + bytes(-len(data) % 512))
    archive.write(HOSTILE[what].tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    (tmp_path / "a.edgex").write_bytes(archive.getvalue())
    with pytest.raises(BundleError, match=r"config\.json"):
        unpack(tmp_path / "a.edgex", tmp_path / "out", signers)
    assert not (tmp_path / "out").exists()


def manifest(**changes: object) -> bytes:
    data = {"app": "flowers", "board": "b", "edgex": "0", "files": [], "schema": 1}
    return Manifest.to_json(_Plain(data | changes))  # type: ignore[arg-type]


class _Plain:
    def __init__(self, data: dict[str, object]) -> None:
        self.data = data

    def to_json(self) -> bytes:
        import json

        return json.dumps(self.data, sort_keys=True, indent=1).encode() + b"\n"


def entry(path: str, size: int = 1) -> dict[str, object]:
    return {"path": path, "sha256": "0" * 64, "size": size}


@pytest.mark.parametrize(
    "changes",
    [
        {"files": [entry("../a")]},
        {"files": [entry("/a")]},
        {"files": [entry("a/../b")]},
        {"files": [entry("a//b")]},
        {"files": [entry(".hidden")]},
        {"files": [entry("-rf")]},
        {"files": [entry("a\nb")]},
        {"files": [entry("a"), entry("a")]},
        {"files": [entry("a"), entry("a/b")]},
        {"files": [entry("b"), entry("a")]},
        {"files": [entry("manifest.json")]},
        {"files": [entry("bomb", 1 << 40)]},
        {"files": [entry(f"f{n:03}", 8 << 30) for n in range(3)]},
        {"files": [entry("a", -1)]},
        {"files": [{**entry("a"), "mode": 0o4755}]},
        {"app": "../flowers"},
        {"app": ""},
        {"schema": 2},
        {"extra": 1},
    ],
)
def test_refuses_a_manifest_that_is_none_of_ours(changes: dict[str, object]) -> None:
    with pytest.raises(BundleError):
        Manifest.from_json(
            _Plain({"app": "flowers", "board": "b", "edgex": "0", "files": [], "schema": 1} | changes).to_json()
        )


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_refuses_any_text_that_is_no_manifest(text: bytes) -> None:
    with pytest.raises(BundleError):
        Manifest.from_json(text)


Damage = Callable[[Path], object]
DAMAGE: dict[str, Damage] = {
    "an extra file": lambda folder: (folder / "extra").write_bytes(b""),
    "an extra link": lambda folder: (folder / "extra").symlink_to("/etc/passwd"),
    "a missing file": lambda folder: (folder / "config.json").unlink(),
    "a changed file": lambda folder: (folder / "config.json").write_bytes(b"{ }"),
    "a link for a file": lambda folder: (
        (folder / "config.json").rename(folder.parent / "c")
        and (folder / "config.json").symlink_to(folder.parent / "c")
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_an_unpacked_bundle_is_held_to_its_manifest_too(what: str, bundle_folder: Path, signers: Path) -> None:
    check_folder(bundle_folder, signers)
    DAMAGE[what](bundle_folder)
    with pytest.raises(BundleError):
        check_folder(bundle_folder, signers)
