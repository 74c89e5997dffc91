"""`edgex deploy bench`: what the release takes on its board, and that the board serves again whatever happens."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result
from waiting import eventually

from edgex.cli.deploy import command
from edgex_devices.agent.wire import Request
from edgex_devices.deploy import HostResult, ask

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler, Deployer, Sshd

QUICK = {"rounds": 2, "seconds": 0.05, "width": 64, "height": 48}


def request_for(board: "BoardFolder", **changes: Any) -> Request:
    base = Request(action="bench", app="light", service="process", root=str(board.root), **QUICK)  # type: ignore[arg-type]
    return replace(base, **changes)


def ask_board(board: "BoardFolder", deploy_to: "Deployer", **changes: Any) -> "HostResult | dict[str, Any]":
    return ask(board.board, request_for(board, **changes), deploy_to.options, lambda *_: None)


def run(board: "BoardFolder", sshd: "Sshd", *more: str) -> Result:
    words = ["bench", "board", "--app", "light", "--service", "process", "--root", str(board.root)]
    quick = ["--rounds", "2", "--seconds", "0.05", "--frame", "64x48", "--ssh-config", str(sshd.config)]
    words += ["--python", board.board.python, *quick, *more]
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, words, standalone_mode=False)


def test_figures_of_the_release_and_the_service_runs_again(
    serving_board: "BoardFolder", sshd: "Sshd", release: Callable[[Path], str]
) -> None:
    pid = serving_board.health()["pid"]
    result = run(serving_board, sshd, "--json")
    assert result.return_value == 0, (result.exception, result.output)
    row = json.loads(result.stdout)
    assert (row["host"], row["release"], row["serves"]) == ("board", serving_board.serving, True)
    assert row["candidate"]["engine"] == "onnxruntime"
    assert row["candidate"]["threads"] == 1, "not what the bundle's config says"
    figures = row["figures"]
    assert 0 < figures["engine_ms"]["median"] < figures["predict_ms"]["median"] <= figures["predict_ms"]["p90"]
    assert figures["rounds"] == 2
    assert figures["resident_mb"] > 30
    again = serving_board.health()
    assert again["pid"] != pid, "it was not paused"
    assert again["frames"] > 0
    table = run(serving_board, sshd, "--beside")
    assert table.return_value == 0
    assert serving_board.health()["pid"] == again["pid"], "it was disturbed"
    assert "light.onnx" in table.stdout
    assert "board: measured beside its service" in table.stdout


def test_nothing_else_changes_the_board_meanwhile_and_it_serves_again_when_the_agent_is_killed(
    serving_board: "BoardFolder", deploy_to: "Deployer", make: "Bundler"
) -> None:
    pid = serving_board.health()["pid"]
    killed = ask_board(serving_board, deploy_to, die_at="measured-1-of-2")
    assert isinstance(killed, HostResult)
    assert killed.outcome == "unreachable"
    assert eventually(lambda: serving_board.service.is_active() and serving_board.health()["pid"] != pid)
    with serving_board.store.lock(wait_s=10):
        refused = ask_board(serving_board, deploy_to)
    assert isinstance(refused, HostResult)
    assert "another deploy is running" in refused.why
    assert serving_board.service.is_active()


def test_a_release_that_cannot_be_measured_serves_again(light_board: "BoardFolder", deploy_to: "Deployer") -> None:
    """The stand-in's environment holds no measuring module."""
    pid = light_board.health()["pid"]
    result = ask_board(light_board, deploy_to)
    assert isinstance(result, HostResult)
    assert (result.outcome, result.kind) == ("refused", "DeployError")
    assert "the release cannot be measured" in result.why
    assert eventually(lambda: light_board.service.is_active() and light_board.health()["pid"] != pid)


def test_a_service_that_was_stopped_stays_so(serving_board: "BoardFolder", deploy_to: "Deployer") -> None:
    serving_board.stop()
    answer = ask_board(serving_board, deploy_to)
    assert isinstance(answer, dict)
    assert answer["was_active"] is False
    assert not serving_board.service.is_active()


def test_a_board_without_a_release_says_so_and_is_left_as_it_is(board: "BoardFolder", deploy_to: "Deployer") -> None:
    result = ask_board(board, deploy_to)
    assert isinstance(result, HostResult)
    assert "nothing is installed yet" in result.why
    assert not board.root.exists()
