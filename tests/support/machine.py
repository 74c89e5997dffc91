"""A whole ARM board in software (qemu, every instruction emulated): what is not on its disk when it is killed is lost.

Its disk is a layer of qcow2 above an image, with `cache=writeback`: the table of where things are in the layer stays in
qemu's memory until the guest asks for a flush. A qemu that is killed takes with it the guest's own cache, and what was
written since then to new places; what was written over other things is there: as with an SD card, in no order.
"""

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from debian_image import USER, DebianImage

PROGRAMS = ("qemu-system-aarch64", "qemu-img", "setpriv", "ssh", "ssh-keygen")
PACKAGES = "qemu-system-arm qemu-utils mmdebstrap zstd kmod cpio e2fsprogs qemu-user-static binfmt-support"
BOOT_S = 600
COMMAND_S = 1200
_LAUNCHES = 5


def missing() -> list[str]:
    """What is not installed here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Machine:
    """One board, which its name reaches by `ssh -F config`.

    Args:
        image: What it starts from.
        folder: For its disk and its console.
        identity: The private key that may log in.
    """

    name = "board"

    def __init__(self, image: DebianImage, folder: Path, identity: Path) -> None:
        self._image = image
        self._disk, self.console, self.config = folder / "disk.qcow2", folder / "console.log", folder / "ssh_config"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.config.write_text(
            f"Host {self.name}\n HostName 127.0.0.1\n Port {self._port}\n User {USER}\n IdentityFile {identity}\n"
            " IdentitiesOnly yes\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n"
            # One log-in for all commands of a boot: each takes an emulated processor some seconds.
            f" ControlMaster auto\n ControlPath {folder}/ssh\n ControlPersist yes\n KexAlgorithms curve25519-sha256\n"
            " ServerAliveInterval 30\n ServerAliveCountMax 4\n"
        )
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.disk, self._disk]
        subprocess.run(command, check=True)
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self) -> float:
        """Switch it on, and wait until it may be logged in to; returns how many seconds that took."""
        started = time.monotonic()
        for _ in range(_LAUNCHES):
            with self.console.open("ab") as console:
                self._process = subprocess.Popen(
                    self._command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
                )
            # Soon after a cut the port may still be taken; qemu says so and ends.
            time.sleep(1)
            if self._process.poll() is None:
                break
        self.wait_for_login()
        return time.monotonic() - started

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._process is not None

    def wait_for_login(self, *, but_not_in: str = "") -> None:
        """Wait until it may be logged in to, and is another boot than that of an identity.

        sshd's greeting is asked for first: it costs an emulated processor nothing, other than logging in.
        """
        until = time.monotonic() + BOOT_S
        while not self._greeting().startswith(b"SSH-") or self.boot_id() in ("", but_not_in):
            assert self._process is not None
            assert self._process.poll() is None, f"qemu ended: {self._end_of_console()}"
            assert time.monotonic() < until, f"no sshd after {BOOT_S} s: {self._end_of_console()}"
            time.sleep(1)

    def boot_id(self) -> str:
        """Another one for each boot; none where it cannot be logged in to."""
        return self("cat /proc/sys/kernel/random/boot_id", check=False).strip()

    def cut(self) -> None:
        """The power goes; nothing is asked, nothing is flushed."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            (self.config.parent / "ssh").unlink(missing_ok=True)

    close = cut

    def __call__(self, command: str, *, check: bool = True) -> str:
        """Run a command by ssh, as a user who is not root; returns what it wrote on stdout."""
        words = ["ssh", "-F", self.config, "-o", "ConnectTimeout=60", self.name, command]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=COMMAND_S)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stderr}"
        return done.stdout

    def fetch(self, path: str, to: Path) -> None:
        """Copy a file from there."""
        to.write_bytes(base64.b64decode(self(f"base64 {path}")))

    def _greeting(self) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection:
                return connection.recv(4)
        except OSError:
            return b""

    def _end_of_console(self) -> str:
        return self.console.read_text(errors="replace")[-2000:]

    def _command(self) -> list[str]:
        # No way out of the board: what it installs came with the deploy.
        network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"
        return [
            # Whatever becomes of the test, no machine outlives it.
            *("setpriv", "--pdeathsig", "KILL"),
            # One processor: two of them, emulated on a machine that has other work, mostly wait for each other.
            *("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-accel", "tcg", "-smp", "1", "-m", "1024"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.ramdisk)),
            # Guards against attacks through the processor's caches, which the emulated one does not have.
            *("-append", "console=ttyAMA0 quiet panic=-1 mitigations=off kpti=off audit=0"),
            *("-drive", f"if=none,id=disk,format=qcow2,cache=writeback,file={self._disk}"),
            *("-device", "virtio-blk-device,drive=disk", "-device", "virtio-rng-device"),
            *("-netdev", network, "-device", "virtio-net-device,netdev=net"),
            *("-display", "none", "-monitor", "none", "-serial", "stdio"),
        ]
