"""Debian for arm64 as a machine boots it: its own kernel, systemd, sshd, an ext4 disk, and a camera made of software.

The packages come from Debian's registry once, and are kept as a tarball in the user's cache, outside the repository.
"""

import hashlib
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import ramdisk

PROGRAMS = ("mmdebstrap", "mke2fs", "zstd", "tar", *ramdisk.PROGRAMS)
PACKAGES = (
    "python3,openssh-server,sudo,systemd,systemd-sysv,dbus,udev,iproute2,procps,libgomp1,kmod,busybox-static,e2fsprogs"
)
SUITE = "bookworm"
MODULES = ("virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "ext4")
USER = "pi"
DISK = "6G"
MAKE_S = 3600

# The kernel's package is only unpacked: what it would run after that takes ten minutes on an emulated processor.
KERNEL = " && ".join(
    (
        'export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"',
        'mkdir "$1/kernel"',
        'cd "$1/kernel"',
        "apt-get download $(apt-cache depends linux-image-arm64 | sed -n 's/ *Depends: //p')",
        "dpkg -x *.deb .",
        'mv lib/modules "$1/usr/lib/modules"',
        'mv boot/vmlinuz-* "$1/boot/vmlinuz"',
        'rm -r "$1/kernel"',
        'depmod -b "$1" $(ls "$1/usr/lib/modules")',
    )
)
MOUNT = """\
until [ -b /dev/vda ]; do $b sleep 0.1; done
$b mount -t ext4 /dev/vda /mnt
exec $b switch_root /mnt /sbin/init
"""
SSHD = "UsePAM no\nUseDNS no\nPasswordAuthentication no\n"
NETWORK = "[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\n"
# What this board has no use for, and an emulated processor no time: each costs it seconds.
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"),
    *("getty@.service", "serial-getty@.service", "systemd-logind.service", "systemd-binfmt.service"),
    *("modprobe@.service", "dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount"),
    *("sys-kernel-tracing.mount", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service"),
)
# Of what was there before udev only camera and network wait for it; all devices of a virtual machine take a minute.
COLDPLUG = """[Service]
ExecStart=
ExecStart=udevadm trigger --type=devices --action=add --subsystem-match=video4linux --subsystem-match=net
"""


@dataclass(frozen=True, kw_only=True)
class DebianImage:
    """What a virtual machine starts from; nobody writes to the disk, machines write to layers above it."""

    kernel: Path
    ramdisk: Path
    disk: Path


def missing() -> list[str]:
    """What is not installed here; an emulator for single programs is wanted once, for the packages' own scripts."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    can_run = platform.machine() == "aarch64" or Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists()
    return absent if can_run or _tarball().exists() else [*absent, "qemu-aarch64 in /proc/sys/fs/binfmt_misc"]


def make_image(folder: Path, public_key: str) -> DebianImage:
    """Make a disk that `public_key` may log in to, as `USER`, who may do all by sudo.

    Args:
        folder: Where to; 600 MB.
        public_key: A line of OpenSSH's.
    """
    root = folder / "root"
    root.mkdir()
    try:
        subprocess.run(["tar", "--zstd", "-xf", _cached(), "-C", root], check=True)
        _settle(root, public_key)
        (version,) = (root / "usr/lib/modules").iterdir()
        modules = ramdisk.Modules(root=root, version=version.name, names=MODULES)
        initrd = ramdisk.make_ramdisk(folder / "ramdisk.gz", modules, root / "bin/busybox", MOUNT)
        kernel = shutil.copy(root / "boot/vmlinuz", folder / "vmlinuz")
        disk = folder / "disk.raw"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, disk, DISK], check=True)
    finally:
        shutil.rmtree(root)
    return DebianImage(kernel=kernel, ramdisk=initrd, disk=disk)


def _tarball() -> Path:
    key = hashlib.sha256(repr((PACKAGES, SUITE, KERNEL)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgex-tests"
    return cache / f"{SUITE}-arm64-machine-{key}.tar.zst"


def _cached() -> Path:
    """The packages as a tarball, made by whoever wants it first: ten minutes."""
    tarball = _tarball()
    if not tarball.exists():
        tarball.parent.mkdir(parents=True, exist_ok=True)
        part = tarball.with_name(f"part-{os.getpid()}-{tarball.name}")
        options = ["--arch=arm64", "--variant=minbase", f"--include={PACKAGES}", f"--customize-hook={KERNEL}"]
        try:
            subprocess.run(["mmdebstrap", *options, SUITE, part], check=True, timeout=MAKE_S)
            part.rename(tarball)
        finally:
            part.unlink(missing_ok=True)
    return tarball


def _settle(root: Path, public_key: str) -> None:
    """Its user, its network and its camera."""
    subprocess.run(
        ["useradd", "--root", root, "--create-home", "--shell", "/bin/bash", "--password", "*", USER], check=True
    )
    files = {
        "etc/ssh/sshd_config": SSHD,
        "etc/systemd/network/board.network": NETWORK,
        "etc/sudoers.d/board": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
        "etc/modules-load.d/camera.conf": "vivid\n",
        "etc/modprobe.d/camera.conf": "options vivid n_devs=1 node_types=1\n",
        "etc/systemd/system/systemd-udev-trigger.service.d/few.conf": COLDPLUG,
        "etc/hostname": "board\n",
        "etc/hosts": "127.0.0.1 localhost board\n",
        f"home/{USER}/.ssh/authorized_keys": public_key + "\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(mode=0o755, exist_ok=True)
        (root / name).write_text(text)
    units = root / "etc/systemd/system"
    (units / "multi-user.target.wants/systemd-networkd.service").symlink_to(
        "/lib/systemd/system/systemd-networkd.service"
    )
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
