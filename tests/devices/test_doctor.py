import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgex.cli.main import edgex, exit_code
from edgex_devices.host import Host, probe
from edgex_runtime.errors import DeviceUnavailableError

SSHD = shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd",) if os.access(path, os.X_OK)), None)
SSHD_START_S = 10


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(edgex, list(map(str, arguments)), standalone_mode=False)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def board_python(tmp_path: Path, make_machine: Callable[..., Path]) -> Path:
    """A Python that takes the probe for a Raspberry Pi 5's, and has no edgex."""
    path = tmp_path / "python"
    root = make_machine({".commands/vcgencmd get_throttled": "throttled=0x0"})
    path.write_text(
        f'#!/bin/sh\n[ "$1" = - ] || {{ echo "No module named edgex_devices" >&2; exit 1; }}\n'
        f"exec {sys.executable} -I - --root {root}\n"
    )
    path.chmod(0o755)
    return path


def test_doctor_examines_this_machine() -> None:
    result = run("doctor", "--json")
    answer = json.loads(result.stdout)
    assert answer["host"] == "this machine"
    assert result.return_value == {"ok": 0, "note": 0, "warning": 8, "error": 9}[answer["worst"]]
    assert {run["verdict"] for run in answer["runs"] if run["device"] == "cpu"} == {"right"}
    checks = {finding["check"] for finding in answer["findings"]}
    assert {"board", "python", "cpu", "memory", "disk", "camera", "clock", "engine"} <= checks


def test_doctor_says_what_to_mend_and_exits_by_the_worst(board_python: Path) -> None:
    result = run("doctor", "--python", board_python)
    assert result.return_value == 9
    said = " ".join(result.stdout.split())
    assert "Raspberry Pi 5 Model B Rev 1.0, Debian GNU/Linux 12 (bookworm): profile raspberry-pi-5:bookworm" in said
    assert "pi may not open it, it belongs to group video" in said
    assert "→ sudo usermod -aG video pi, and log in again" in said
    assert "engines were not tried: No module named edgex_devices" in said


def test_detect_names_the_board_and_its_system(board_python: Path) -> None:
    result = run("devices", "detect", "--python", board_python)
    assert (result.return_value, result.stdout) == (0, "raspberry-pi-5:bookworm\n")
    answer = json.loads(run("devices", "detect", "--python", board_python, "--json").stdout)
    assert answer["profile"] == "raspberry-pi-5:bookworm"
    assert answer["facts"]["cpu"]["model"] == "Cortex-A76"


def test_list_and_show_say_what_is_known() -> None:
    listed = run("devices", "list").stdout
    assert "raspberry-pi-zero-2-w" in listed
    assert "none; python3.11" in listed
    shown = run("devices", "show", "raspberry-pi-4:trixie").stdout
    for text in ("Raspberry Pi 4 Model B", "Python 3.13", "vcgencmd get_throttled", "Illegal instruction", "https://"):
        assert text in shown


def test_show_says_of_each_source_whether_it_was_read() -> None:
    shown = " ".join(run("devices", "show", "jetson-orin-nano").stdout.split())
    assert "https://github.com/microsoft/onnxruntime/issues/20503 (read 2026-11-30)" in shown
    assert "https://developer.nvidia.com/embedded/jetson-modules (not read by us)" in shown


def test_what_is_not_known_is_shown_as_unknown() -> None:
    lines = run("devices", "show", "generic-arm64").stdout.splitlines()
    assert [line.split()[-1] for line in lines if line.split()[:1] in (["threads"], ["memory"])] == ["unknown"] * 3


def test_show_as_json_is_the_whole_profile() -> None:
    answer = json.loads(run("devices", "show", "raspberry-pi-5", "--json").stdout)
    assert answer["memory_mb"] == [1024, 2048, 4096, 8192, 16384]


@pytest.fixture(scope="module")
def ssh_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real sshd on loopback, with keys of its own, and the OpenSSH configuration that reaches it as `board`."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("no sshd here: apt-get install openssh-server openssh-client")
    folder = tmp_path_factory.mktemp("sshd")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    port = _free_port()
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
    )
    config = folder / "config"
    config.write_text(
        f"Host board\n HostName 127.0.0.1\n Port {port}\n IdentityFile {folder}/user\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {folder}/known\n StrictHostKeyChecking accept-new\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        _wait_until_it_answers(config, server, folder / "log")
        yield config
    finally:
        server.terminate()
        server.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_it_answers(config: Path, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SSHD_START_S
    while subprocess.run(["ssh", "-F", config, "board", "true"], capture_output=True).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.skip(f"sshd does not run here: {log.read_text()[-300:]}")
        time.sleep(0.1)


def test_doctor_of_a_host_runs_the_probe_and_the_engines_there(ssh_config: Path) -> None:
    # An environment's Python, by a wrapper: sshd hands no PYTHONPATH on.
    wrapper = ssh_config.with_name("python")
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={":".join(filter(None, sys.path))} exec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    result = run("doctor", "--host", "board", "--ssh-config", ssh_config, "--python", wrapper, "--json")
    answer = json.loads(result.stdout)
    assert answer["host"] == "board"
    assert {item["verdict"] for item in answer["runs"] if item["device"] == "cpu"} == {"right"}
    assert any("from this machine's clock" in finding["what"] for finding in answer["findings"])


def test_a_host_without_edgex_is_examined_all_the_same(ssh_config: Path) -> None:
    facts, _ = probe(Host(name="board", ssh_config=ssh_config))
    assert facts.cpu.cores == os.cpu_count()
    result = run("doctor", "--host", "board", "--ssh-config", ssh_config, "--python", "/usr/bin/python3 -I")
    assert "engines were not tried: edgex is not installed" in result.stdout


def test_detect_asks_a_host(ssh_config: Path) -> None:
    here, there = (
        json.loads(run("devices", "detect", "--json", *where).stdout)
        for where in ((), ("--host", "board", "--ssh-config", ssh_config))
    )
    assert there["facts"]["cpu"] == here["facts"]["cpu"]
    assert there["profile"] == here["profile"]


def test_a_python_that_is_not_on_the_host_is_named(ssh_config: Path) -> None:
    result = run("doctor", "--host", "board", "--ssh-config", ssh_config, "--python", "/no/python")
    assert "board: there is no /no/python" in str(result.exception)


def test_a_host_that_refuses_the_key_is_unavailable(ssh_config: Path, tmp_path: Path) -> None:
    config = tmp_path / "config"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    config.write_text(ssh_config.read_text().replace(f"{ssh_config.parent}/user", f"{tmp_path}/other"))
    result = run("doctor", "--host", "board", "--ssh-config", config)
    assert isinstance(result.exception, DeviceUnavailableError)
    assert exit_code(result.exception) == 6
    assert "Permission denied" in str(result.exception)
