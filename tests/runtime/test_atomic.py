from pathlib import Path

import pytest

from edgex_runtime.atomic import atomic_write


def test_replaces_a_file_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.bin"]


def write_half(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"half of the n")
        raise KeyboardInterrupt


def test_leaves_the_old_file_and_no_litter_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.bin"]


def test_keeps_permissions(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.touch(mode=0o640)
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_writes_through_a_symbolic_link(tmp_path: Path) -> None:
    target, link = tmp_path / "v1.bin", tmp_path / "current.bin"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
