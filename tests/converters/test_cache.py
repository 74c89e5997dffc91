"""The cache alone: an entry is finished and intact, or it is not there."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgex.cli.cache import command
from edgex_converters import cache
from edgex_converters.cache import open_cache
from edgex_converters.scratch import scratch_folder
from edgex_runtime.errors import BadInputError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path))
    return tmp_path / "conversions"


def write(size: int = 1000):
    def fill(folder: Path) -> None:
        (folder / "a.bin").write_bytes(b"a" * size)
        (folder / "b.bin").write_bytes(b"b")

    return fill


def refuse(folder: Path) -> None:
    raise AssertionError("what is in the cache was made again")


def add(key: str, size: int = 1000) -> None:
    with open_cache() as kept:
        kept.get(key, "step", "test", write(size))


def keys() -> set[str]:
    return {entry.folder.name for entry in cache.entries()}


def test_makes_once(root: Path) -> None:
    with open_cache() as kept:
        first = kept.get("k", "step", "test", write())
        second = kept.get("k", "step", "test", refuse)
    assert (first.cached, second.cached) == (False, True)
    assert first.digest == second.digest
    assert (second.folder / "a.bin").read_bytes() == b"a" * 1000
    assert second.bytes == 1001


def test_an_error_leaves_nothing(root: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "a.bin").write_bytes(b"half")
        raise RuntimeError("broken tool")

    with pytest.raises(RuntimeError, match="broken tool"), open_cache() as kept:
        kept.get("k", "step", "test", fail)
    assert [path.name for path in root.iterdir()] == [".lock"]


@pytest.mark.parametrize("damage", ["a bit", "a missing file", "the manifest", "an empty manifest"])
def test_a_damaged_entry_is_made_again(root: Path, damage: str) -> None:
    add("k")
    if damage == "a bit":
        content = bytearray((root / "k" / "a.bin").read_bytes())
        content[500] ^= 1
        (root / "k" / "a.bin").write_bytes(content)
    elif damage == "a missing file":
        (root / "k" / "b.bin").unlink()
    else:
        (root / "k" / "manifest.json").write_text('{"step"' if damage == "the manifest" else "")
    with open_cache() as kept:
        assert kept.find("k") is None
        assert not kept.get("k", "step", "test", write()).cached
        assert kept.find("k") is not None


def test_two_conversions_that_make_the_same_end_with_one_entry(root: Path) -> None:
    def quicker(folder: Path) -> None:
        add("k")
        write()(folder)

    with open_cache() as kept:
        entry = kept.get("k", "step", "test", quicker)
    assert entry.cached
    assert {path.name for path in root.iterdir()} == {"k", ".lock"}


def test_what_was_used_longest_ago_goes_first(root: Path) -> None:
    for age, key in ((30, "old"), (20, "older"), (10, "new")):
        add(key)
        past = time.time() - age
        os.utime(root / key, (past, past))
    with open_cache() as kept:
        assert kept.find("old") is not None  # Used now: "older" is the oldest from here on.
    # Not twice one of them: a manifest holds seconds, which are more digits now and then.
    cache.trim(sum(file.stat().st_size for key in ("old", "new") for file in (root / key).iterdir()))
    assert keys() == {"old", "new"}
    cache.trim(0)
    assert keys() == set()


def test_a_conversion_leaves_no_more_than_the_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("k", size=3_000_000)
    monkeypatch.setenv("EDGEX_CACHE_GB", "0.002")
    with open_cache() as kept:
        assert kept.find("k") is not None
    assert keys() == set()


@pytest.mark.parametrize("size", ["much", "-1", "nan", "inf"])
def test_refuses_a_limit_that_is_none(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("EDGEX_CACHE_GB", size)
    with pytest.raises(BadInputError, match="want a size in GB"), open_cache():
        pass


def test_nothing_is_removed_under_a_conversion() -> None:
    add("k")
    with open_cache() as kept:
        kept.find("k")
        with pytest.raises(BadInputError, match="a conversion is using the cache"):
            cache.trim(0)
        with open_cache():
            pass  # Another conversion that ends first.
    assert keys() == {"k"}


def test_sweeps_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    dead, alive, foreign = (tmp_path / name for name in (".making-dead", ".making-alive", "photos"))
    for folder in (dead, alive, foreign):
        folder.mkdir()
        (folder / "half").write_bytes(b"x")
    lock = os.open(alive, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with scratch_folder(tmp_path, ".making-") as mine:
        assert {path.name for path in tmp_path.iterdir()} == {mine.name, alive.name, foreign.name}
    os.close(lock)
    assert {path.name for path in tmp_path.iterdir()} == {alive.name, foreign.name}


_WRITER = """
import sys
from pathlib import Path
from edgex_converters.cache import open_cache

def fill(folder):
    for index in range(20):
        (folder / str(index)).write_bytes(bytes(100_000))

with open_cache() as kept:
    print("ready", flush=True)
    for number in range(int(sys.argv[1]), 100_000):
        kept.get(f"key{number}", "step", "test", fill)
"""


def test_kill_9_leaves_finished_entries_or_none(root: Path) -> None:
    rng = np.random.default_rng(0)
    for turn in range(6):
        command = [sys.executable, "-c", _WRITER, str(turn * 10_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.01, 0.15))
            process.send_signal(signal.SIGKILL)
        names = [path.name for path in root.iterdir() if path.name.startswith("key")]
        with open_cache() as kept:
            assert all(kept.find(name) is not None for name in names)
            assert len([path for path in root.iterdir() if path.name.startswith(".making-")]) == 1  # Its own.
        cache.trim(0)


def test_the_command_lists_and_removes(root: Path) -> None:
    add("k", size=2_000_000)
    listed = json.loads(CliRunner().invoke(command, ["--json"], catch_exceptions=False).stdout)
    assert listed["path"] == str(root)
    assert [(entry["key"], entry["step"], entry["about"]) for entry in listed["entries"]] == [("k", "step", "test")]
    assert "1 entries, 2.0 MB; the limit is 4 GB" in CliRunner().invoke(command, [], catch_exceptions=False).stdout
    assert CliRunner().invoke(command, ["--limit", "0.01"], catch_exceptions=False).exit_code == 0
    assert keys() == {"k"}
    CliRunner().invoke(command, ["--clear"], catch_exceptions=False)
    assert keys() == set()
