"""The agent dies at every step of a deploy; at the next boot the board serves the old or the new release, whole."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgex_devices.agent.archive import digest
from edgex_devices.agent.config import Health
from edgex_devices.agent.main import main
from edgex_devices.agent.manifest import MANIFEST, Manifest
from edgex_devices.deploy import DeployOptions
from edgex_devices.ssh import Ssh

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler, Deployer

QUICK = Health(start_s=20, window_s=0.1, max_age_ms=1500, watchdog_s=10)
# In the order in which a deploy comes to them; `test_these_are_all_steps` holds the list to a real one.
FORWARD = [
    "locked",
    "signature-verified",
    "recovered",
    "copy-begins",
    "file-received",
    "files-linked",
    "manifest-written",
    "environment-found",
    "proved",
    "installed",
    "before-the-switch",
    "link-made",
    "link-switched",
    "link-synced",
    "service-started",
    "frames-flow",
    "kept",
    "pruned-releases",
    "pruned-environments",
    "pruned-files",
]
BACK = ["going-back", "link-went-back", "service-went-back"]


@pytest.fixture
def direct(tmp_path: Path, deploy_to: "Deployer") -> "Deployer":
    """Deploys by a shell in the place of ssh: the connection is what other tests are about."""
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    program.chmod(0o755)
    deploy_to.options = DeployOptions(ssh=Ssh(program=str(program)), retries=0)
    return deploy_to


@pytest.fixture
def old_board(board: "BoardFolder", make_light: "Bundler", direct: "Deployer") -> "BoardFolder":
    assert direct(board, make_light("old", health=QUICK)).outcome == "deployed"
    return board


def boot(board: "BoardFolder") -> None:
    """Everything that ran is gone; then comes what a unit or an init calls before it starts the app."""
    board.stop()
    assert main(["recover", str(board.root)]) == 0


def is_whole(board: "BoardFolder") -> bool:
    """Whether what `current` names is installed, and each of its files is that of its manifest."""
    name = board.serving
    assert name is not None
    folder = board.store.release(name)
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    files = all(digest(folder / file.path) == (file.size, file.sha256) for file in manifest.files)
    return board.store.is_installed(name) and manifest.release == name and files


def test_these_are_all_steps(old_board: "BoardFolder", make_light: "Bundler", direct: "Deployer") -> None:
    steps: list[str] = []
    assert direct(old_board, make_light("new", health=QUICK), steps=steps).outcome == "deployed"
    assert list(dict.fromkeys(steps)) == FORWARD
    steps.clear()
    stale = make_light("stale", source="stale", health=QUICK)
    assert direct(old_board, stale, steps=steps).outcome == "rolled back"
    assert [step for step in steps if step not in FORWARD] == BACK


def test_serves_one_of_the_two_after_a_cut_at_any_step_on_the_way_forward(
    old_board: "BoardFolder", make_light: "Bundler", direct: "Deployer", release: Callable[[Path], str]
) -> None:
    """One board's hard life: each cut is followed by a boot, and by the deploy that was cut, to its end."""
    for step in FORWARD:
        old, bundle = old_board.serving, make_light(f"new-{step}", health=QUICK)
        assert direct(old_board, bundle, die_at=step).outcome == "unreachable", step
        assert is_whole(old_board), f"{step}, before the boot"
        boot(old_board)
        is_kept = FORWARD.index(step) >= FORWARD.index("kept")
        assert old_board.serving == (release(bundle) if is_kept else old), step
        assert old_board.store.state().current == old_board.serving, step
        assert is_whole(old_board), step
        again = direct(old_board, bundle)
        assert (again.outcome, again.serving) == ("deployed", release(bundle)), (step, again.why)


def test_serves_the_old_one_after_a_cut_at_any_step_on_the_way_back(
    old_board: "BoardFolder", make_light: "Bundler", direct: "Deployer"
) -> None:
    old = old_board.serving
    stale = make_light("stale", source="stale", health=QUICK)
    for step in BACK:
        assert direct(old_board, stale, die_at=step).outcome == "unreachable", step
        assert is_whole(old_board), step
        boot(old_board)
        assert old_board.serving == old, step
        assert is_whole(old_board), step


def test_a_first_deploy_that_was_cut_off_leaves_nothing_to_serve(
    board: "BoardFolder", make_light: "Bundler", direct: "Deployer"
) -> None:
    bundle = make_light("first", health=QUICK)
    assert direct(board, bundle, die_at="link-switched").outcome == "unreachable"
    boot(board)
    assert board.serving is None
    assert direct(board, bundle).outcome == "deployed"


def test_what_was_half_removed_is_no_release(
    old_board: "BoardFolder", make_light: "Bundler", direct: "Deployer"
) -> None:
    """Power went while the disk was being tidied: some files of an old release are gone already."""
    bundle = make_light("new", health=QUICK)
    assert direct(old_board, bundle, die_at="installed").outcome == "unreachable"
    folder = old_board.store.release(Manifest.from_json((bundle / MANIFEST).read_bytes()).release)
    (folder / "installed.json").unlink()
    shutil.rmtree(folder / "model")
    assert direct(old_board, bundle).outcome == "deployed"
    assert is_whole(old_board)
