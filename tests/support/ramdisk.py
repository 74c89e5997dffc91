"""A ramdisk that loads kernel modules and then does what it is told: made in a second, by none of a guest's tools."""

import gzip
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("cpio", "depmod")

_INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc p /proc; $b mount -t sysfs s /sys; $b mount -t devtmpfs d /dev
for module in $($b cat /order); do $b insmod $module; done
"""


@dataclass(frozen=True, kw_only=True)
class Modules:
    """A kernel's modules, after `depmod`: below `root`, for kernel `version`; of them those that `names` need."""

    root: Path
    version: str
    names: Sequence[str]


def make_ramdisk(ramdisk: Path, modules: Modules, busybox: Path, then: str) -> Path:
    """Write a ramdisk.

    Args:
        ramdisk: The file.
        modules: What is loaded, with what it stands on.
        busybox: A static one for the guest's processor.
        then: Shell for busybox (``$b``), with /proc, /sys and /dev in place.
    """
    tree = ramdisk.with_name(ramdisk.name + ".tree")
    for name in ("bin", "proc", "sys", "dev", "mnt", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin" / "busybox")
    order: dict[str, None] = {}
    for name in modules.names:
        command = ["modprobe", "-d", str(modules.root), "-S", modules.version, "--show-depends", name]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        order.update(dict.fromkeys(line.split()[1] for line in shown.splitlines() if line.startswith("insmod")))
    for path in order:
        shutil.copy(path, tree / "modules")
    (tree / "order").write_text("".join(f"/modules/{Path(path).name}\n" for path in order))
    (tree / "init").write_text(_INIT + then)
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names.encode(), capture_output=True, check=True
    )
    ramdisk.write_bytes(gzip.compress(packed.stdout, 1))
    shutil.rmtree(tree)
    return ramdisk
