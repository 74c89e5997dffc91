"""Many boards: one that is dead, one that is full, one that is slow, and one that answers otherwise."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edgex.cli.deploy import command, exit_code
from edgex.cli.deploy_answers import Answers
from edgex_devices.deploy import HostResult
from edgex_devices.inventory import read_inventory
from edgex_devices.keys import SigningKey
from edgex_runtime.errors import SpecError

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler, Sshd

SLOW_S = 4.0
# A link on which everything takes long.
SLOW_LINK = """#!{python}
import os, socket, threading, time
time.sleep({seconds})
link = socket.create_connection(("127.0.0.1", {port}))
def down():
    while data := link.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=down, daemon=True).start()
while data := os.read(0, 65536):
    link.sendall(data)
"""


class Fleet:
    """Five boards on one sshd, each a folder of its own; only the first two are well."""

    def __init__(self, folder: Path, sshd: "Sshd", make_board: "Callable[..., BoardFolder]", full: Path) -> None:
        self.boards = {name: make_board(name, folder / name) for name in ("board-1", "board-2", "board-slow")}
        self.boards["board-full"] = make_board("board-full", full)
        self.config = folder / "config"
        self.inventory = folder / "fleet.toml"
        slow = folder / "slow"
        slow.write_text(SLOW_LINK.format(python=sys.executable, seconds=SLOW_S, port=sshd.port))
        slow.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            dead = probe.getsockname()[1]
        self.config.write_text(
            f"Host board-slow\n ProxyCommand {slow}\nHost board-dead\n Port {dead}\n{sshd.config.read_text()}"
        )
        roots = {name: board.root for name, board in self.boards.items()} | {"board-dead": folder / "dead"}
        self.inventory.write_text(
            "schema = 1\n"
            + "".join(
                f'[[hosts]]\nname = "{name}"\nservice = "process"\nroot = "{root}"\npython = "{sys.executable}"\n'
                for name, root in roots.items()
            )
        )


@pytest.fixture
def full_folder(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    folder = tmp_path / "full"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder / "app"
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def fleet(tmp_path: Path, sshd: "Sshd", make_board: "Callable[..., BoardFolder]", full_folder: Path) -> Fleet:
    (tmp_path / "fleet").mkdir()
    return Fleet(tmp_path / "fleet", sshd, make_board, full_folder)


def arguments(fleet: Fleet, bundle: Path, key: SigningKey, *more: str) -> list[str]:
    places = ["--inventory", str(fleet.inventory), "--ssh-config", str(fleet.config)]
    return [*more, *places, "--bundle", str(bundle), "--key", str(key.private), "--retries", "0"]


def test_each_board_has_its_row_and_the_well_ones_are_done(
    fleet: Fleet, make_light: "Bundler", key: SigningKey, release: Callable[[Path], str]
) -> None:
    bundle = make_light("a")
    started = time.monotonic()
    done = CliRunner().invoke(command, arguments(fleet, bundle, key, "--json"), standalone_mode=False)
    seconds = time.monotonic() - started
    rows = {row["host"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "board-1": "deployed",
        "board-2": "deployed",
        "board-slow": "deployed",
        "board-full": "refused",
        "board-dead": "unreachable",
    }
    assert "too full" in rows["board-full"]["why"]
    assert "ssh cannot reach it" in rows["board-dead"]["why"]
    assert {fleet.boards[name].serving for name in ("board-1", "board-2", "board-slow")} == {release(bundle)}
    assert done.return_value == 1
    times = [row["seconds"] for row in rows.values()]
    assert rows["board-slow"]["seconds"] >= SLOW_S
    assert seconds < max(times) + 2, "the wall time is the slowest board's, not the sum"
    table = CliRunner().invoke(command, arguments(fleet, bundle, key), standalone_mode=False)
    lines = {line.split()[0]: line for line in table.stdout.splitlines() if line.startswith("  board-")}
    assert "unchanged" in lines["board-1"]
    assert "unreachable" in lines["board-dead"]


def test_a_canary_that_is_not_well_keeps_the_others_as_they_are(
    fleet: Fleet, make_light: "Bundler", key: SigningKey
) -> None:
    bundle = make_light("broken", source="hang")
    flags = ["--json", "--canary", "1", "board-dead"]
    done = CliRunner().invoke(command, arguments(fleet, bundle, key, *flags), standalone_mode=False)
    outcomes = {row["host"]: row["outcome"] for row in map(json.loads, done.stdout.splitlines())}
    assert outcomes.pop("board-dead") == "unreachable"
    assert set(outcomes.values()) == {"skipped"}
    assert done.return_value == 6
    assert not any(board.root.exists() for board in fleet.boards.values())


def result(outcome: str, kind: str = "") -> HostResult:
    return HostResult(host="h", outcome=outcome, release="r", kind=kind)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([result("deployed"), result("unchanged")], 0),
        ([result("deployed"), result("refused", "ContractMismatchError")], 4),
        ([result("unreachable", "DeviceUnavailableError"), result("skipped")], 6),
        ([result("rolled back", "DeployError")], 1),
        ([result("refused", "BundleError")], 2),
        ([result("refused", "ContractMismatchError"), result("unreachable", "DeviceUnavailableError")], 1),
    ],
)
def test_the_exit_code_says_what_is_wrong_everywhere(results: list[HostResult], code: int) -> None:
    assert exit_code(results) == code


def test_an_inventory_with_a_misspelt_key_names_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text('schema = 1\n[[hosts]]\nname = "a"\nsevice = "process"\n')
    with pytest.raises(SpecError, match="did you mean 'service'"):
        read_inventory(path)
    path.write_text('schema = 1\n[[hosts]]\nname = "a"\n[[hosts]]\nname = "a"\n')
    with pytest.raises(SpecError, match="want each once"):
        read_inventory(path)


def test_after_ctrl_c_no_link_is_taken_up_again_and_no_other_board_is_touched(
    tmp_path: Path, make_light: "Bundler", key: SigningKey
) -> None:
    calls, ssh = tmp_path / "calls", tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec sleep 60\n')
    ssh.chmod(0o755)
    flags = ["--key", key.private, "--ssh", ssh, "--parallel", "1", "--service", "process"]
    deploying = subprocess.Popen(
        [sys.executable, "-m", "edgex", "deploy", "board-1", "board-2", "--bundle", make_light("a"), *flags],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 30
    while not calls.exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(deploying.pid, signal.SIGINT)
    assert deploying.wait(15) == 130
    assert calls.read_text().count("board-") == 1


def test_lines_of_several_boards_logs_say_whose_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"outcome": "logs", "text": "one\ntwo\n"}
    Answers(as_json=False, several=True).take("board-1", answer)
    assert capsys.readouterr().out == "board-1: one\nboard-1: two\n"
    Answers(as_json=False, several=False).take("board-1", answer)
    assert capsys.readouterr().out == "one\ntwo\n"
