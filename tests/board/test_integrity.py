"""A card that rots: installed files that are not what was installed are found, named, mended, and not gone back to."""

import ensurepip
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edgex.cli.deploy import command
from edgex_devices.agent.config import CONFIG
from edgex_devices.agent.integrity import damage
from edgex_devices.agent.manifest import MANIFEST
from edgex_devices.agent.store import INSTALLED
from edgex_devices.agent.wire import Request
from edgex_devices.deploy import HostResult, ask

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler, Deployer, Sshd


def rot(path: Path) -> None:
    """One byte; another one each time."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] = (data[len(data) // 2] + 1) % 256
    with path.open("r+b") as file:
        file.write(data)


def roll_back(board: "BoardFolder", deploy_to: "Deployer") -> "HostResult | dict[str, Any]":
    request = Request(action="rollback", app="light", service="process", root=str(board.root))
    return ask(board.board, request, deploy_to.options, lambda *_: None)


def status(board: "BoardFolder", sshd: "Sshd", *more: str) -> Any:
    words = ["status", "board", "--app", "light", "--service", "process", "--root", str(board.root)]
    words += ["--python", board.board.python, "--ssh-config", str(sshd.config), *more]
    return CliRunner().invoke(command, words, standalone_mode=False)


@pytest.fixture
def two(board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer") -> "BoardFolder":
    """A board with a release before the one that it serves."""
    for name in ("before", "now"):
        assert deploy_to(board, make_light(name)).outcome == "deployed"
    return board


def test_status_names_what_is_damaged_and_its_exit_code_says_so(two: "BoardFolder", sshd: "Sshd") -> None:
    whole = status(two, sshd, "--verify")
    assert (whole.return_value, "every file is what was installed" in whole.stdout) == (0, True)
    serving = two.serving
    assert serving is not None
    rot(two.store.release(serving) / "model/light.onnx")
    assert status(two, sshd).return_value == 0
    hurt = status(two, sshd, "--verify", "--json")
    assert hurt.return_value == 1
    first, second = map(json.loads, hurt.stdout.splitlines())
    # The two releases have the same model: one file, of two names.
    assert f"releases/{serving}/model/light.onnx" in first["damage"]
    assert second["outcome"] == "damaged"
    assert "model/light.onnx: not what was installed" in second["why"]


@pytest.mark.parametrize("name", [CONFIG, "agent.pyz", MANIFEST, INSTALLED])
def test_a_deploy_of_what_is_served_mends_it(
    name: str, two: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    serving = two.serving
    assert serving is not None
    path = two.store.release(serving) / name
    before = path.read_bytes()
    rot(path)
    bundle = make_light("now")
    told = deploy_to(two, bundle, dry_run=True)
    assert (told.outcome, "to repair: " in told.why) == ("would deploy", True)
    assert path.read_bytes() != before, "a dry run changes nothing"
    result = deploy_to(two, bundle)
    assert (result.outcome, result.serving) == ("deployed", serving)
    assert f"repaired: releases/{serving}/{name} on the board's disk is not what was installed" in result.why
    assert name == INSTALLED or path.read_bytes() == before
    assert damage(two.store, serving, everything=True) == []
    assert deploy_to(two, bundle).outcome == "unchanged"


def test_another_deploy_says_that_what_it_replaces_was_damaged(
    two: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    serving = two.serving
    assert serving is not None
    rot(two.store.release(serving) / CONFIG)
    result = deploy_to(two, make_light("next"))
    assert result.outcome == "deployed"
    assert f"the release before is damaged: releases/{serving}/{CONFIG} on the board's disk is" in result.why


def test_a_file_that_is_gone_comes_again(two: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer") -> None:
    serving = two.serving
    assert serving is not None
    (two.store.release(serving) / "proof.json").unlink()
    assert deploy_to(two, make_light("now")).outcome == "deployed"
    assert damage(two.store, serving, everything=True) == []


def test_nobody_goes_back_to_a_damaged_release(
    two: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    serving, previous = two.serving, two.store.state().previous
    assert previous is not None
    pid = two.health()["pid"]
    rot(two.store.release(previous) / CONFIG)
    result = roll_back(two, deploy_to)
    assert isinstance(result, HostResult)
    assert (result.outcome, result.serving) == ("refused", serving)
    assert f"the release before is damaged: releases/{previous}/{CONFIG}" in result.why
    assert two.health()["pid"] == pid, "what serves was disturbed"
    assert deploy_to(two, make_light("before")).outcome == "deployed"
    assert two.serving == previous
    assert isinstance(roll_back(two, deploy_to), HostResult)
    assert two.serving == serving


def test_a_cut_while_it_is_mended_leaves_it_served(
    two: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    serving, bundle = two.serving, make_light("now")
    assert serving is not None
    rot(two.store.release(serving) / "proof.json")
    for step in ("copy-begins", "file-received", "files-mended", "proved"):
        assert deploy_to(two, bundle, die_at=step).outcome == "unreachable", step
        assert two.serving == serving
        assert two.store.is_installed(serving)
        rot(two.store.release(serving) / "proof.json")
    assert deploy_to(two, bundle).outcome == "deployed"
    assert damage(two.store, serving, everything=True) == []


def test_a_damaged_environment_is_made_anew_beside_the_one_in_use(
    board: "BoardFolder", make_light: "Bundler", with_wheels: Callable[[Path], None], deploy_to: "Deployer"
) -> None:
    if not any((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")):
        pytest.skip("this Python comes without pip's wheel: apt install python3-venv")
    bundle = make_light("wheels", change=with_wheels)
    assert deploy_to(board, bundle).outcome == "deployed"
    (env,) = board.store.envs.iterdir()
    (code,) = env.rglob("edgex/__pycache__/__main__*.pyc")
    rot(code)
    result = deploy_to(board, bundle)
    assert result.outcome == "deployed", result.why
    assert f"envs/{code.relative_to(board.store.envs)}" in result.why
    (again,) = board.store.envs.iterdir()
    assert again != env
    unchanged = deploy_to(board, bundle)
    assert unchanged.outcome == "unchanged", unchanged.why
