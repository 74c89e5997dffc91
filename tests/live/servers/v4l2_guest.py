"""A machine with a real V4L2 camera: Debian's kernel with its test driver `vivid`, under qemu, on this machine's files.

Nothing is installed: the kernel's package is only unpacked, and the guest reads the host's root (by 9p). There
it runs one Python script of ours in the environment of the tests.
"""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("qemu-system-x86_64", "busybox", "cpio", "depmod", "apt-get", "apt-cache", "dpkg")
PACKAGES = "qemu-system-x86 busybox-static cpio kmod"
ROOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p")
BOOT_LIMIT_S = 600

INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev
for module in $($b cat /order); do $b insmod $module; done
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
    kernel, root, version = _unpack_kernel(folder)
    start = folder / "start.sh"
    places = ":".join(filter(None, sys.path))
    start.write_text(
        f"export PATH={os.environ['PATH']} HOME=/run PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={places}\n"
        f"cd /run; {sys.executable} {script}\n"
    )
    ramdisk = _make_ramdisk(folder, root, version, (*ROOT_MODULES, *modules), start)
    share = "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1500", "-smp", "2"]
    command += ["-kernel", str(kernel), "-initrd", str(ramdisk), "-append", "console=ttyS0 quiet panic=-1"]
    command += ["-nographic", "-no-reboot", "-virtfs", share]
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


def _make_ramdisk(folder: Path, kernel: Path, version: str, modules: tuple[str, ...], start: Path) -> Path:
    tree = folder / "ramdisk"
    for name in ("bin", "proc", "sys", "dev", "mnt", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", tree / "bin" / "busybox")
    order: dict[str, None] = {}
    for name in modules:
        command = ["modprobe", "-d", str(kernel), "-S", version, "--show-depends", name]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        order.update(dict.fromkeys(line.split()[1] for line in shown.splitlines() if line.startswith("insmod")))
    for path in order:
        shutil.copy(path, tree / "modules")
    (tree / "order").write_text("".join(f"/modules/{Path(path).name}\n" for path in order))
    (tree / "init").write_text(INIT.format(script=start))
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names.encode(), capture_output=True, check=True
    )
    ramdisk = folder / "ramdisk.gz"
    ramdisk.write_bytes(gzip.compress(packed.stdout, 1))
    return ramdisk
