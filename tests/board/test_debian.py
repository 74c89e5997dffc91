"""A bare Debian with its own systemd and sshd, in a container: wheels from the registry, the real unit, and power cuts.

Opt-in (`make test-board`): it wants root, mmdebstrap, systemd-nspawn and Debian's and Python's registries. Debian is
kept as a tarball in the user's cache, outside the repository. `EDGEX_BOARD_ARCH=arm64` runs the same on an emulated ARM
(qemu-user 10 by binfmt: version 7.2 shows the host's /proc/cpuinfo to the guest, on which onnxruntime dies).
"""

import os
import shutil
import signal
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgex_devices.agent.config import Health
from edgex_devices.agent.manifest import MANIFEST, Manifest
from edgex_devices.agent.wire import Request
from edgex_devices.bundle import BundleOptions, make_bundle
from edgex_devices.deploy import DeployOptions, HostResult, ask, ask_each, deploy
from edgex_devices.keys import SigningKey
from edgex_devices.profile import load_profile
from edgex_devices.ssh import Ssh
from edgex_devices.transport import Board

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.board

ARCH = os.environ.get("EDGEX_BOARD_ARCH", "amd64")
PROFILE = {"amd64": "x86-64:bookworm", "arm64": "generic-arm64:bookworm"}[ARCH]
PACKAGES = (
    "python3,openssh-server,sudo,systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,udev,iproute2,procps,"
    "libgomp1"
)
# An emulated processor computes some hundred times slower.
PATIENCE = {"amd64": 1, "arm64": 10}[ARCH]
HEALTH = Health(start_s=60 * PATIENCE, window_s=3, max_age_ms=2000 * PATIENCE, watchdog_s=6 * PATIENCE)
SOURCE = f"test://shapes?size=64x48&fps={10 if ARCH == 'amd64' else 1}"
UNIT = "edgex-light.service"
USER = "ada"


class Debian:
    """A running container; `cut` is a power cut as far as processes are concerned, `boot` what comes after it."""

    def __init__(self, root: Path, folder: Path, port: int) -> None:
        self.root, self.config, self.port = root, folder / "config", port
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "id"], check=True)
        (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        shutil.copy(folder / "id.pub", root / "root/.ssh/authorized_keys")
        (root / "etc/ssh/sshd_config").write_text(f"Port {port}\nListenAddress 127.0.0.1\nUsePAM no\nUseDNS no\n")
        if ARCH == "arm64":
            # Emulated processes cannot make network namespaces: qemu-user does not know all of netlink.
            (root / f"etc/systemd/system/{UNIT}.d").mkdir()
            (root / f"etc/systemd/system/{UNIT}.d/emulator.conf").write_text("[Service]\nPrivateNetwork=no\n")
        self.config.write_text(
            f"Host {USER}\n User {USER}\nHost *\n HostName 127.0.0.1\n Port {port}\n User root\n"
            f" IdentityFile {folder}/id\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n"
        )
        self._log = folder / "boot.log"
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        command = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", self.root]
        command += ["--setenv=QEMU_CPU=cortex-a72"] if ARCH == "arm64" else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-b"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 60 * PATIENCE
        while self("true", check=False).returncode:
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.5)

    def cut(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        # What nspawn leaves behind when it is killed.
        subprocess.run(["umount", "--recursive", "--lazy", self.root], check=False, stderr=subprocess.DEVNULL)
        time.sleep(1)

    def close(self) -> None:
        if self._process is not None:
            self.cut()

    def __call__(self, command: str, *, check: bool = True) -> "subprocess.CompletedProcess[str]":
        words = ["ssh", "-F", self.config, "-o", "ConnectTimeout=5", "debian", command]
        return subprocess.run(words, capture_output=True, text=True, check=check, timeout=600)

    def show(self, name: str) -> str:
        return self(f"systemctl show -P {name} {UNIT}").stdout.strip()


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    missing = [name for name in ("mmdebstrap", "systemd-nspawn", "zstd") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"wants root, and apt install mmdebstrap systemd-container zstd (missing: {missing})")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / "edgex-tests" / f"bookworm-{ARCH}-{zlib.crc32(PACKAGES.encode()):08x}.tar.zst"
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        options = [f"--arch={ARCH}", "--variant=minbase", f"--include={PACKAGES}"]
        subprocess.run(["mmdebstrap", *options, "bookworm", cache], check=True)
    # Not in pytest's own folder: what is kept of a container there would stand in the way of its tidying.
    root = Path(f"/var/tmp/edgex-board-{os.getpid()}")
    root.mkdir()
    subprocess.run(["tar", "--zstd", "-xf", cache, "-C", root], check=True)
    container = Debian(root, tmp_path_factory.mktemp("debian"), 22000 + os.getpid() % 9000)
    try:
        container.boot()
        yield container
    finally:
        container.close()
        shutil.rmtree(root, ignore_errors=True)


class Deploys:
    """Makes bundles of the registry's wheels and deploys them; each `make` with other settings is another release."""

    def __init__(self, debian: Debian, folder: Path, model: Path, key: SigningKey) -> None:
        self._folder, self._model, self._key = folder, model, key
        self.options = DeployOptions(ssh=Ssh(config=debian.config), retries=0)
        self.board = Board(name="debian")
        self._lock: Path | None = None

    def make(self, name: str, *, change: Callable[[Path], object] | None = None, source: str = SOURCE) -> Path:
        options = BundleOptions(
            model=self._model,
            profile=load_profile(PROFILE),
            source=f"{source}&seed={len(name)}",
            health=HEALTH,
            lock=self._lock,
        )
        bundle = make_bundle(options, self._key, self._folder / name)
        self._lock = bundle.folder / "requirements.txt"
        if change is not None:
            from edgex_devices.bundle import seal

            change(bundle.folder)
            seal(bundle.folder, self._key, app="light", board=bundle.manifest.board)
        return bundle.folder

    def folder_of(self, name: str) -> Path:
        (folder,) = (path for path in (self._folder / name).iterdir() if path.is_dir())
        return folder

    def __call__(self, folder: Path, **changes: Any) -> HostResult:
        manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
        options = replace(self.options, **changes)
        (result,) = deploy([self.board], folder, manifest, self._key.public, options, lambda *_: None)
        return result


@pytest.fixture(scope="module")
def deploys(debian: Debian, tmp_path_factory: pytest.TempPathFactory, model: Path, key: SigningKey) -> Deploys:
    return Deploys(debian, tmp_path_factory.mktemp("bundles"), model, key)


@pytest.fixture(scope="module")
def served(debian: Debian, deploys: Deploys) -> str:
    """The release that a bare Debian serves after its first deploy; it has neither pip nor venv."""
    result = deploys(deploys.make("first"))
    assert result.outcome == "deployed", result.why
    assert result.serving is not None
    return result.serving


def test_a_bare_debian_answers_what_the_host_answered(debian: Debian, served: str) -> None:
    proof = debian(f"cat /opt/edgex/light/releases/{served}/installed.json").stdout
    assert '"same": true' in proof
    assert "on cpu" in proof


def test_the_app_is_nobody_and_sees_a_closed_system(debian: Debian, served: str) -> None:
    pid = debian.show("MainPID")
    user = debian(f"ps -o user= -p {pid}").stdout.strip()
    assert user not in ("root", "")
    assert debian.show("StatusText").startswith("LIVE")
    if ARCH == "arm64":
        pytest.skip("emulated processes cannot enter a mount namespace")
    tried = debian(f"nsenter -t {pid} -m -- touch /etc/by-the-app", check=False)
    assert "Read-only file system" in tried.stderr


def test_ends_within_two_seconds_of_sigterm(debian: Debian, served: str) -> None:
    started = time.monotonic()
    debian(f"systemctl stop {UNIT}")
    seconds = time.monotonic() - started
    assert debian.show("Result") == "success"
    debian(f"systemctl start {UNIT}")
    assert seconds < 2 * PATIENCE


def test_a_frame_loop_that_hangs_is_killed_and_started_again(debian: Debian, served: str) -> None:
    pid = debian.show("MainPID")
    debian(f"kill -STOP {pid}")
    until = time.monotonic() + 30 * PATIENCE
    while debian.show("MainPID") in (pid, "0") or debian.show("ActiveState") != "active":
        assert time.monotonic() < until, debian(f"systemctl status {UNIT}", check=False).stdout
        time.sleep(0.5)
    assert int(debian.show("NRestarts")) >= 1


def test_predictions_that_differ_are_refused(deploys: Deploys, served: str, lie: Callable[[Path], None]) -> None:
    result = deploys(deploys.make("a-lie", change=lie))
    assert (result.outcome, result.serving) == ("refused", served)


def test_a_second_deploy_changes_nothing(debian: Debian, deploys: Deploys, served: str) -> None:
    result = deploys(deploys.folder_of("first"))
    assert (result.outcome, result.serving) == ("unchanged", served)
    # What else this machine does is not the deploy's: on a quiet one 3 s are the limit.
    assert result.seconds <= 3 * PATIENCE * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.mark.parametrize("step", ["before-the-switch", "link-switched", "service-started", "frames-flow"])
def test_boots_into_the_old_release_after_a_power_cut(step: str, debian: Debian, deploys: Deploys, served: str) -> None:
    assert deploys(deploys.make(f"cut-{step}"), die_at=step).outcome == "unreachable"
    debian.cut()
    debian.boot()
    until = time.monotonic() + 60 * PATIENCE
    while not debian.show("StatusText").startswith("LIVE"):
        assert time.monotonic() < until, debian(f"systemctl status {UNIT}", check=False).stdout
        time.sleep(0.5)
    request = Request(action="status", app="light")
    status = ask(deploys.board, request, deploys.options, lambda *_: None)
    assert isinstance(status, dict)
    assert (status["serving"], status["current"], status["active"]) == (served, served, True)


@pytest.fixture(scope="module")
def user(debian: Debian) -> Board:
    """Somebody on the board who is not root, and may not sudo."""
    debian(f"useradd --create-home --shell /bin/bash --password '*' {USER}")
    debian(f"install -d -o {USER} -m 700 /home/{USER}/.ssh")
    debian(f"install -o {USER} -m 600 /root/.ssh/authorized_keys /home/{USER}/.ssh/authorized_keys")
    return Board(name=USER, service="systemd-user")


def test_a_users_systemd_that_does_not_run_is_named_with_what_starts_it(
    debian: Debian, deploys: Deploys, served: str, user: Board
) -> None:
    """Without a session and without lingering there is no manager to hand a unit to."""
    result = deploys_as(deploys, user, "first")
    assert (result.outcome, result.serving) == ("refused", None)
    assert f"sudo loginctl enable-linger {USER}" in result.why


def test_a_users_systemd_runs_it_without_root_and_again_after_a_boot(
    debian: Debian, deploys: Deploys, served: str, user: Board, lie: Callable[[Path], None]
) -> None:
    debian(f"loginctl enable-linger {USER}")
    request = Request(action="status", app="light")
    result = deploys_as(deploys, user, "first")
    assert result.outcome == "deployed", result.why
    assert result.figures["frames"] > 0
    deploys.make("another-lie", change=lie)
    refused = deploys_as(deploys, user, "another-lie")
    assert (refused.outcome, refused.serving) == ("refused", served)
    assert deploys_as(deploys, user, "first").outcome == "unchanged"
    pid = debian(f"pgrep -u {USER} -f edgex.live").stdout.split()[0]
    assert debian(f"ps -o user= -p {pid}").stdout.strip() == USER
    assert debian(f"test -w /home/{USER}/.local/share/edgex/light", check=False).returncode == 0
    debian.cut()
    debian.boot()
    until = time.monotonic() + 60 * PATIENCE
    status: Any = {}
    while not (status.get("active") and (status.get("health") or {}).get("frames")):
        assert time.monotonic() < until, status
        time.sleep(0.5)
        answers = list(ask_each([user], request, deploys.options, lambda *_: None))
        status = answers[0][1] if isinstance(answers[0][1], dict) else {}
    assert status["serving"] == served


def deploys_as(deploys: Deploys, board: Board, name: str) -> HostResult:
    before, deploys.board = deploys.board, board
    try:
        return deploys(deploys.folder_of(name))
    finally:
        deploys.board = before


def test_what_the_release_takes_is_measured_and_the_unit_runs_again(
    debian: Debian, deploys: Deploys, served: str
) -> None:
    pid = debian.show("MainPID")
    request = Request(action="bench", app="light", rounds=2, seconds=0.2, width=64, height=48)
    answer = ask(deploys.board, request, deploys.options, lambda *_: None)
    assert isinstance(answer, dict), answer
    assert (answer["outcome"], answer["release"], answer["why"]) == ("benched", served, "")
    assert len(answer["samples"]) == 2
    assert debian.show("ActiveState") == "active"
    assert debian.show("UnitFileState") == "enabled"
    assert debian.show("MainPID") not in (pid, "0")
    again = debian.show("MainPID")
    killed = ask(deploys.board, replace(request, die_at="service-paused"), deploys.options, lambda *_: None)
    assert isinstance(killed, HostResult)
    until = time.monotonic() + 60 * PATIENCE
    while debian.show("ActiveState") != "active" or debian.show("MainPID") in (again, "0"):
        assert time.monotonic() < until
        time.sleep(0.5)
