"""A machine with a real V4L2 camera: Debian's kernel with its test driver `vivid`, under qemu, on this machine's files.

Nothing is installed: the kernel's package is only unpacked, and the guest reads the host's root (by 9p). There
it runs one Python script of ours in the environment of the tests.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import ramdisk

PROGRAMS = ("qemu-system-x86_64", "busybox", *ramdisk.PROGRAMS, "apt-get", "apt-cache", "dpkg")
PACKAGES = "qemu-system-x86 busybox-static cpio kmod"
ROOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p")
BOOT_LIMIT_S = 600

RUN = """\
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,ro,cache=loose root /mnt
$b mount --bind /proc /mnt/proc; $b mount -t sysfs s /mnt/sys; $b mount -t devtmpfs d /mnt/dev
$b mount -t tmpfs t /mnt/run
$b chroot /mnt /bin/bash {script}
$b poweroff -f
"""


def missing() -> list[str]:
    """What is not installed here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def run_in_guest(script: Path, folder: Path, *modules: str) -> str:
    """Run a Python script in the guest; returns what it wrote.

    Args:
        script: Run by this Python, with this one's import path; may write below /run only.
        folder: For the kernel and what is made of it; 500 MB.
        modules: Of the kernel, to be loaded before.
    """
    kernel, kernel_root, version = _unpack_kernel(folder)
    start = folder / "start.sh"
    places = ":".join(filter(None, sys.path))
    start.write_text(
        f"export PATH={os.environ['PATH']} HOME=/run PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={places}\n"
        f"cd /run; {sys.executable} {script}\n"
    )
    loaded = ramdisk.Modules(root=kernel_root, version=version, names=(*ROOT_MODULES, *modules))
    busybox = Path(shutil.which("busybox") or "")
    initrd = ramdisk.make_ramdisk(folder / "ramdisk.gz", loaded, busybox, RUN.format(script=start))
    root = "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1500", "-smp", "2"]
    command += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", "console=ttyS0 quiet panic=-1"]
    command += ["-nographic", "-no-reboot", "-virtfs", root]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_LIMIT_S, check=True, errors="replace"
    )
    return done.stdout


def _unpack_kernel(folder: Path) -> tuple[Path, Path, str]:
    depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True)
    package = next(line.split()[-1] for line in depends.stdout.splitlines() if "Depends:" in line)
    subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, capture_output=True, check=True)
    root = folder / "kernel"
    subprocess.run(["dpkg", "-x", next(folder.glob("linux-image-*.deb")), root], check=True)
    version = package.removeprefix("linux-image-")
    subprocess.run(["depmod", "-b", root, version], check=True)
    return root / "boot" / f"vmlinuz-{version}", root, version
