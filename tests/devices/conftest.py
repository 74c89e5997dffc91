"""Machines made of files: what the probe and the doctor look at in place of a board."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgex_devices
from edgex_devices.facts import Facts
from edgex_devices.host import parse_facts

PROBE = Path(edgex_devices.__file__).with_name("probe.py")

CPU_A76 = """\
processor\t: {n}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""
# A Raspberry Pi 5 as its files show it; ownership is the test's own, so that no test needs root.
PI5 = {
    ".commands/uname -m": "aarch64",
    ".commands/id": "uid=64321(pi) gid=64321(pi) groups=64321(pi),27(sudo)",
    ".commands/vcgencmd get_throttled": "throttled=0x50000",
    ".commands/timedatectl show --property=NTPSynchronized --value": "yes",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\n',
    "etc/group": f"root:x:0:\nvideo:x:{os.getgid()}:\nsudo:x:27:pi\n",
    "proc/cpuinfo": "\n".join(CPU_A76.format(n=n) for n in range(4)) + "\nRevision\t: d04170\n",
    "proc/meminfo": "MemTotal:        8256640 kB\nMemFree:  1 kB\nMemAvailable:    7340032 kB\nSwapTotal:  204784 kB\n",
    "proc/mounts": "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n",
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61250\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    "sys/class/rtc/rtc0/name": "rpi_rtc\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "2400000\n",
    "dev/video0": "",
    "dev/video19": "",
    "sys/class/video4linux/video0/name": "HD Pro Webcam C920\n",
    "sys/class/video4linux/video19/name": "rpi-hevc-dec\n",
}


def write_machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def run_probe(root: Path, python: str = sys.executable) -> Facts:
    done = subprocess.run([python, str(PROBE), "--root", str(root)], capture_output=True, text=True, check=True)
    return parse_facts(done.stdout, where=str(root))


@pytest.fixture(scope="session")
def probe_machine() -> Callable[..., Facts]:
    """What the probe says of a folder that stands for a machine; in another Python where one is given."""
    return run_probe


@pytest.fixture
def make_machine(tmp_path: Path) -> Callable[..., Path]:
    """A Raspberry Pi 5's files in a folder, with `changes`: None takes one away."""

    def make(changes: dict[str, str | None] | None = None) -> Path:
        files: dict[str, Any] = {**PI5, **(changes or {})}
        root = write_machine(tmp_path / "machine", {name: text for name, text in files.items() if text is not None})
        for name in ("video0", "video19"):
            if (root / "dev" / name).exists():
                (root / "dev" / name).chmod(0o660)
        return root

    return make


@pytest.fixture
def pi5(make_machine: Callable[..., Path]) -> Facts:
    """The facts of that Raspberry Pi 5."""
    return run_probe(make_machine())
