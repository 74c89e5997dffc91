"""A fleet of twenty: each board a network namespace with an sshd of its own; one is dead, one full, one slow.

Opt-in (`make test-board`): it wants root, iproute2 and openssh-server. What is really there: twenty addresses behind a
bridge, twenty host keys and connections. They share this machine's disk, processors and Python.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edgex.cli.deploy import command
from edgex_devices.agent.config import Health
from edgex_devices.keys import SigningKey

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler

pytestmark = pytest.mark.board

BOARDS = 20
DEAD, FULL, SLOW = "board-07", "board-12", "board-17"
BALLAST_BYTES, SLOW_BYTES_PER_S = 2 << 20, 256 << 10
PATIENT = Health(start_s=120, window_s=0.5, max_age_ms=20_000, watchdog_s=60)
# netem and tbf are no part of this kernel: a relay that lets so many bytes a second through.
SLOW_LINK = """#!{python}
import os, socket, threading, time
link = socket.create_connection(("{address}", 22))
def down():
    while data := link.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=down, daemon=True).start()
while data := os.read(0, 16384):
    time.sleep(len(data) / {rate})
    link.sendall(data)
"""


class Network:
    """A hub, which reaches boards by a bridge, and a namespace for each board that is alive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.hub = f"edgex-{os.getpid()}"
        self.config = folder / "config"
        self.ssh = folder / "ssh"
        self.names = [f"board-{number:02}" for number in range(1, BOARDS + 1)]
        self._sshds: list[subprocess.Popen[bytes]] = []

    def open(self) -> None:
        for name in ("host", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._folder / name], check=True)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._ip("netns", "add", self.hub)
        self._ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
        self._ip("-n", self.hub, "addr", "add", "10.77.0.1/24", "dev", "br0")
        self._ip("-n", self.hub, "link", "set", "br0", "up")
        for number, name in enumerate(self.names, start=2):
            address = f"10.77.0.{number}"
            if name == DEAD:
                self._ip("-n", self.hub, "route", "add", "unreachable", address)
            else:
                self._add_board(name, address, f"v{number}")
        self._write_ssh()
        for name in self.names:
            if name != DEAD:
                self._await_sshd(name)

    def close(self) -> None:
        for sshd in self._sshds:
            sshd.terminate()
            sshd.wait()
        for name in (*self.names, ""):
            subprocess.run(["ip", "netns", "del", self._space(name)], check=False, stderr=subprocess.DEVNULL)

    def _add_board(self, name: str, address: str, link: str) -> None:
        space = self._space(name)
        self._ip("netns", "add", space)
        self._ip("link", "add", link, "netns", self.hub, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("-n", self.hub, "link", "set", link, "master", "br0", "up")
        self._ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        self._ip("-n", space, "link", "set", "eth0", "up")
        config = self._folder / f"{name}.sshd"
        config.write_text(
            f"Port 22\nListenAddress {address}\nHostKey {self._folder}/host\nAuthorizedKeysFile {self._folder}/id.pub\n"
            "UsePAM no\nStrictModes no\nPidFile none\nUseDNS no\n"
        )
        program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
        assert program is not None
        command = ["ip", "netns", "exec", space, program, "-D", "-e", "-f", config]
        with (self._folder / f"{name}.log").open("wb") as log:
            self._sshds.append(subprocess.Popen(command, stderr=log))

    def _write_ssh(self) -> None:
        slow = self._folder / "slow"
        number = self.names.index(SLOW) + 2
        slow.write_text(SLOW_LINK.format(python=sys.executable, address=f"10.77.0.{number}", rate=SLOW_BYTES_PER_S))
        slow.chmod(0o755)
        hosts = "".join(f"Host {name}\n HostName 10.77.0.{n}\n" for n, name in enumerate(self.names, start=2))
        self.config.write_text(
            f"Host {SLOW}\n ProxyCommand {slow}\n{hosts}Host *\n User root\n IdentityFile {self._folder}/id\n"
            " IdentitiesOnly yes\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n"
        )
        self.ssh.write_text(f'#!/bin/sh\nexec ip netns exec {self.hub} ssh "$@"\n')
        self.ssh.chmod(0o755)

    def _await_sshd(self, name: str) -> None:
        until = time.monotonic() + 60
        while subprocess.run([self.ssh, "-F", self.config, name, "true"], check=False).returncode:
            assert time.monotonic() < until, (self._folder / f"{name}.log").read_text()

    def _space(self, name: str) -> str:
        return f"{self.hub}-{name}" if name else self.hub

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Mounted before there are namespaces, which have mounts of their own and see no later one."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    folder = tmp_path / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def network(tmp_path: Path, full_disk: Path) -> Iterator[Network]:
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("sshd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("wants root, and apt install iproute2 openssh-server")
    (tmp_path / "network").mkdir()
    made = Network(tmp_path / "network")
    try:
        made.open()
        yield made
    finally:
        made.close()


@pytest.fixture
def roots(
    tmp_path: Path, network: Network, full_disk: Path, make_board: "Callable[..., BoardFolder]"
) -> dict[str, Path]:
    """Each board's folder; what is started there is ended."""
    made = {name: full_disk / "app" if name == FULL else tmp_path / "boards" / name for name in network.names}
    for name, root in made.items():
        make_board(name, root)
    return made


def test_twenty_boards_take_as_long_as_the_slowest_and_each_has_its_row(
    network: Network,
    roots: dict[str, Path],
    make_light: "Bundler",
    key: SigningKey,
    release: Callable[[Path], str],
    tmp_path: Path,
) -> None:
    bundle = make_light(
        "fleet",
        health=PATIENT,
        change=lambda folder: (folder / "model" / "ballast.bin").write_bytes(os.urandom(BALLAST_BYTES)),
    )
    inventory = tmp_path / "fleet.toml"
    inventory.write_text(
        "schema = 1\n"
        + "".join(
            f'[[hosts]]\nname = "{name}"\nservice = "process"\nroot = "{root}"\npython = "{sys.executable}"\n'
            for name, root in roots.items()
        )
    )
    reach = ["--inventory", str(inventory), "--ssh", str(network.ssh), "--ssh-config", str(network.config)]
    flags = [*reach, "--parallel", "32", "--retries", "0"]
    deploying = [*flags, "--bundle", str(bundle), "--key", str(key.private)]

    def run(*words: str) -> "tuple[Any, float]":
        started = time.monotonic()
        done = CliRunner(env={"COLUMNS": "200"}).invoke(command, list(words), standalone_mode=False)
        return done, time.monotonic() - started

    done, wall_s = run(*deploying, "--json")
    rows = {row["host"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert set(rows) == set(network.names)
    others = {name: row for name, row in rows.items() if name not in (DEAD, FULL)}
    assert {row["outcome"] for row in others.values()} == {"deployed"}, others
    assert {row["serving"] for row in others.values()} == {release(bundle)}
    assert (rows[DEAD]["outcome"], rows[FULL]["outcome"]) == ("unreachable", "refused")
    assert "ssh cannot reach it" in rows[DEAD]["why"]
    assert "route" in rows[DEAD]["why"].lower()
    assert "the disk is too full: want" in rows[FULL]["why"]
    assert done.return_value == 1, "unreachable and refused: neither says it alone"
    slow_s = rows[SLOW]["seconds"]
    assert slow_s >= BALLAST_BYTES / SLOW_BYTES_PER_S
    longest_s, sum_s = max(row["seconds"] for row in rows.values()), sum(row["seconds"] for row in rows.values())
    print(f"wall {wall_s:.1f} s, the longest board {longest_s:.1f} s, the slow one {slow_s:.1f} s, sum {sum_s:.1f} s")
    assert wall_s < longest_s + 5
    assert wall_s < sum_s / 4

    again, _ = run(*deploying)
    lines = {line.split()[0]: line for line in again.stdout.splitlines() if line.startswith("  board-")}
    assert len(lines) == BOARDS
    assert all("unchanged" in line for name, line in lines.items() if name not in (DEAD, FULL)), lines
    told, _ = run("status", "--app", "light", *flags)
    assert told.stdout.count("it runs") == BOARDS - 2
    assert told.return_value == 6, "the full one answers, and serves nothing; one is not reached"
