"""What stays on a board: no program, no key and no setting of a bundle whose signature is not good."""

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgex_devices.agent.config import AGENT
from edgex_devices.agent.main import main
from edgex_devices.agent.manifest import SIGNATURE
from edgex_devices.agent.service import default_root
from edgex_devices.agent_zip import agent_zip
from edgex_devices.keys import SigningKey

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler, Deployer


def other_agent(folder: Path) -> None:
    """An agent that differs: one more file in its archive."""
    data = io.BytesIO(agent_zip())
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr(zipfile.ZipInfo("note.txt", (1980, 1, 1, 0, 0, 0)), folder.parent.name)
    (folder / AGENT).write_bytes(data.getvalue())


def files_of(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_first_bundle_whose_signature_is_not_good_leaves_nothing_but_the_lock(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer", other_key: SigningKey
) -> None:
    bundle = make_light("forged")
    (bundle / SIGNATURE).write_bytes((make_light("another") / SIGNATURE).read_bytes())
    result = deploy_to(board, bundle)
    assert (result.outcome, result.kind) == ("refused", "BundleError")
    assert "does not belong to these bytes" in result.why
    result = deploy_to(board, make_light("theirs", key=other_key))
    assert "does not trust" in result.why
    assert files_of(board.root) == {"lock"}


def test_what_starts_a_release_comes_with_it_and_goes_back_with_it(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer", other_key: SigningKey
) -> None:
    assert deploy_to(board, make_light("old")).outcome == "deployed"
    old = board.store.agent.read_bytes()
    theirs = make_light("theirs", key=other_key, change=other_agent)
    assert deploy_to(board, theirs, public=other_key.public).outcome == "refused"
    assert board.store.agent.read_bytes() == old
    stale = make_light("stale", source="stale", change=other_agent)
    assert deploy_to(board, stale).outcome == "rolled back"
    assert board.store.agent.read_bytes() == old
    new = make_light("new", change=other_agent)
    assert deploy_to(board, new).outcome == "deployed"
    assert board.store.agent.read_bytes() == (new / AGENT).read_bytes() != old


def test_a_cut_in_the_trial_boots_with_the_agent_of_the_release_before(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    assert deploy_to(board, make_light("old")).outcome == "deployed"
    old = board.store.agent.read_bytes()
    assert deploy_to(board, make_light("new", change=other_agent), die_at="service-started").outcome == "unreachable"
    assert board.store.agent.read_bytes() != old
    board.stop()
    assert main(["recover", str(board.root)]) == 0
    assert board.store.agent.read_bytes() == old


def test_a_bundle_that_nothing_could_start_is_refused(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    result = deploy_to(board, make_light("without", change=lambda folder: (folder / AGENT).unlink()))
    assert (result.outcome, result.kind) == ("refused", "BundleError")
    assert "agent.pyz is missing in it: make it again" in result.why


def test_services_do_not_share_a_folder_and_one_folder_is_one_services(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    roots = {default_root(service, "light") for service in ("systemd", "systemd-user", "process")}
    assert len(roots) == 3
    assert deploy_to(board, make_light("old")).outcome == "deployed"
    (board.root / "service").write_text("systemd-user")
    before = files_of(board.root)
    result = deploy_to(board, make_light("new"))
    assert (result.outcome, result.kind) == ("refused", "BadInputError")
    assert "want an app that process runs, this one is run by systemd-user: --service systemd-user" in result.why
    assert {name for name in files_of(board.root) if "run/" not in name} <= before
    (board.root / "service").write_text("process")


def test_a_start_during_a_deploy_says_who_decides(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer", capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy_to(board, make_light("old")).outcome == "deployed"
    with board.store.lock():
        assert main(["recover", str(board.root)]) == 0
    assert capsys.readouterr().err == "a deploy is under way on this board; it decides what is served\n"
