"""The disk of a board fills up at each step of a deploy: the old release serves, nothing half-written stays.

The agent runs in the test's own process, so that the disk, a small ext4 of its own, is full exactly from a step on.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from small_wheelhouse import write_wheelhouse

from edgex_devices.agent.archive import digest
from edgex_devices.agent.config import Health
from edgex_devices.agent.main import main, serve
from edgex_devices.agent.manifest import MANIFEST, SIGNATURE, Manifest
from edgex_devices.agent.wire import Request, Wire
from edgex_devices.keys import SigningKey

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler

# The agent leaves the supervisor that it starts running: here that is a child of the test's process.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
QUICK = Health(start_s=20, window_s=0.1, max_age_ms=5000, watchdog_s=30)
DISK_BYTES = 40 << 20
WOULD_FIT = 512 << 10
# From which step on there is no room, or only so much that the next step ends in its midst.
AT = {
    "locked": 0,
    "signature-verified": 0,
    "recovered": 0,
    "copy-begins": WOULD_FIT,
    "file-received": 0,
    "files-linked": 0,
    "manifest-written": 8 << 10,
    "environment-made": 4 << 10,
    "environment-installed": 0,
    "environment-complete": 0,
    "proved": 0,
    "before-the-switch": 0,
    "link-made": 0,
    "link-switched": 0,
    "service-started": 0,
    "frames-flow": 0,
}
QUICK_ONES = ("copy-begins", "manifest-written", "frames-flow")


class Host(Wire):
    """The host's end of a deploy, in the agent's own process: it is told each step when the agent is there."""

    def __init__(self, request: Request, folder: Path, on_step: Callable[[str], None]) -> None:
        text = json.dumps(asdict(request)).encode()
        manifest, signature = (folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_bytes()
        self._data = b"%08d" % len(text) + text + manifest + signature
        self._folder, self._on_step = folder, on_step
        self.result: dict[str, Any] = {}

    def read(self, count: int) -> bytes:
        data, self._data = self._data[:count], self._data[count:]
        return data

    def tell(self, event: str, **what: Any) -> None:
        if event == "need":
            self._data += b"".join((self._folder / name).read_bytes()[here:] for name, here in what["files"])
        elif event == "step":
            self._on_step(what["name"])
        else:
            self.result = what


class Disk:
    """A small ext4 of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, left_bytes: int = 0) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 10):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
            # What is left is left in whole blocks.
            os.ftruncate(file.fileno(), max(os.fstat(file.fileno()).st_size - left_bytes, 0))
            os.fsync(file.fileno())

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("wants root, and apt install e2fsprogs")
    image, folder = tmp_path / "disk.img", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], check=False).returncode:
        pytest.skip("this machine does not let us mount a disk image")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


class Deploying:
    """Deploys to one board, in this process."""

    def __init__(self, board: "BoardFolder", key: SigningKey) -> None:
        self._board, self._key = board, key

    def __call__(self, folder: Path, on_step: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        request = Request(
            action="deploy",
            app="light",
            service="process",
            root=str(self._board.root),
            public=self._key.public,
            manifest_bytes=(folder / MANIFEST).stat().st_size,
            signature_bytes=(folder / SIGNATURE).stat().st_size,
        )
        host = Host(request, folder, on_step)
        serve(host)
        return host.result


def with_ballast_and_wheels(folder: Path, stand_in: Path) -> None:
    """Two megabytes of a model, and an environment that no other release has."""
    (folder / "model" / "ballast.bin").write_bytes(os.urandom(2 << 20))
    live = f"import sys\nsys.argv[1:1] = ['-m', 'edgex']\n# {os.urandom(8).hex()}\n{stand_in.read_text()}"
    write_wheelhouse(folder, live)


def is_whole(board: "BoardFolder") -> bool:
    name = board.serving
    assert name is not None
    folder = board.store.release(name)
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    files = all(digest(folder / file.path) == (file.size, file.sha256) for file in manifest.files)
    return board.store.is_installed(name) and manifest.release == name and files


def assert_nothing_half_written(board: "BoardFolder") -> None:
    state = board.store.state()
    kept = {state.current, state.previous} - {None}
    assert {path.name for path in board.store.releases.iterdir()} == kept
    assert all((path / "complete").is_file() for path in board.store.envs.glob("*"))
    assert not [path for path in board.store.blobs.iterdir() if path.stat().st_nlink == 1]
    assert not list(board.root.rglob("*.tmp"))


def fills_up_at(
    step: str, board: "BoardFolder", disk: Disk, deploying: Deploying, make_light: "Bundler", stand_in: Path
) -> None:
    old = board.serving
    bundle = make_light(f"at-{step}", health=QUICK, change=lambda folder: with_ballast_and_wheels(folder, stand_in))
    reached = []

    def on_step(name: str) -> None:
        if name == step and not reached:
            reached.append(name)
            disk.fill(AT[step])

    result = deploying(bundle, on_step)
    assert reached, (step, result)
    assert result["outcome"] in ("refused", "rolled back"), (step, result)
    assert (result["serving"], board.serving) == (old, old), (step, result)
    told = re.search(r"the disk is too full.*: want \d+ MB free in \S+, there are [\d.]+: remove", result["why"])
    assert told, (step, result["why"])
    assert is_whole(board), step
    assert board.service.is_active(), step
    assert_nothing_half_written(board)
    assert main(["recover", str(board.root)]) == 0
    assert board.serving == old
    disk.free()
    again = deploying(bundle)
    assert (again["outcome"], again["serving"]) == ("deployed", again["release"]), (step, again["why"])
    assert is_whole(board), step


@pytest.fixture
def board_on_it(
    disk: Disk, make_board: "Callable[..., BoardFolder]", make_light: "Bundler", key: SigningKey, tmp_path: Path
) -> "BoardFolder":
    board = make_board("board", disk.folder / "app")
    # As under systemd: what the app writes while it runs is in memory, and gives no block back in the midst of this.
    board.root.mkdir()
    (tmp_path / "run").mkdir()
    (board.root / "run").symlink_to(tmp_path / "run")
    assert Deploying(board, key)(make_light("old", health=QUICK))["outcome"] == "deployed"
    return board


@pytest.mark.parametrize("step", QUICK_ONES)
def test_serves_the_old_release_where_the_disk_fills_up(
    step: str, board_on_it: "BoardFolder", disk: Disk, make_light: "Bundler", key: SigningKey, stand_in: Path
) -> None:
    fills_up_at(step, board_on_it, disk, Deploying(board_on_it, key), make_light, stand_in)


@pytest.mark.board
@pytest.mark.parametrize("step", [step for step in AT if step not in QUICK_ONES])
def test_serves_the_old_release_at_whichever_step_the_disk_fills_up(
    step: str, board_on_it: "BoardFolder", disk: Disk, make_light: "Bundler", key: SigningKey, stand_in: Path
) -> None:
    fills_up_at(step, board_on_it, disk, Deploying(board_on_it, key), make_light, stand_in)


def test_a_first_deploy_to_a_full_disk_says_so_and_a_later_one_succeeds(
    disk: Disk, make_board: "Callable[..., BoardFolder]", make_light: "Bundler", key: SigningKey
) -> None:
    board, bundle = make_board("board", disk.folder / "app"), make_light("old", health=QUICK)
    disk.fill()
    result = Deploying(board, key)(bundle)
    assert (result["outcome"], result["serving"]) == ("refused", None)
    assert "the disk is too full" in result["why"]
    assert "want 1 MB free in" in result["why"]
    disk.free()
    assert Deploying(board, key)(bundle)["outcome"] == "deployed"


def test_a_boot_after_a_power_cut_on_a_full_disk_goes_back(
    board_on_it: "BoardFolder", disk: Disk, make_light: "Bundler", key: SigningKey
) -> None:
    class PowerCutError(Exception):
        pass

    def on_step(name: str) -> None:
        if name == "link-switched":
            disk.fill()
            raise PowerCutError

    old = board_on_it.serving
    with pytest.raises(PowerCutError):
        Deploying(board_on_it, key)(make_light("new", health=QUICK), on_step)
    assert board_on_it.serving != old
    assert main(["recover", str(board_on_it.root)]) == 0
    assert board_on_it.serving == old
    assert is_whole(board_on_it)


def test_an_environment_that_is_not_there_yet_counts_although_its_wheels_are(
    board_on_it: "BoardFolder", make_light: "Bundler", key: SigningKey, stand_in: Path
) -> None:
    from edgex_devices.agent.receive import missing
    from edgex_devices.agent.room import wanted_bytes

    bundle = make_light("wheels", health=QUICK, change=lambda folder: with_ballast_and_wheels(folder, stand_in))
    manifest = Manifest.from_json((bundle / MANIFEST).read_bytes())
    store = board_on_it.store
    wheels = sum(file.size for file in manifest.files if file.path.endswith(".whl"))
    # As after a link that broke: everything is here, and no environment.
    without = wanted_bytes(store, manifest, [])
    assert Deploying(board_on_it, key)(bundle)["outcome"] == "deployed"
    assert without - wanted_bytes(store, manifest, missing(store, manifest)) == 3 * wheels
