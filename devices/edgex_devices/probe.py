"""What a machine is and how it fares, as JSON on stdout: ``python3 probe.py [--root FOLDER]``.

The script stands alone: Python 3.6 or newer, the standard library, and nothing of edgex, so that it also runs as
``ssh HOST python3 - < probe.py`` on a board where nothing is installed. It gathers facts and judges nothing; `facts.py`
is the schema of what it prints, `checks/` judges. Under another root than ``/`` no command is run: what it would
have answered is read from ``FOLDER/.commands/``, which is how tests hand it a board.
"""

import argparse
import json
import os
import platform
import re
import shutil
import stat
import struct
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

SCHEMA_VERSION = 1
COMMAND_TIMEOUT_S = 10
MIB = 1 << 20
COLONS = re.compile(r"^([^:\n]+?)[ \t]*:[ \t]*(.*)$", re.MULTILINE)
# What decides how fast int8 and fp16 are, and which wheels run at all.
FEATURES = re.compile(
    r"asimd(dp|hp)?|fphp|i8mm|bf16|sve2?|avx2?|fma|f16c|avx512(f|_vnni|_bf16)|avx_vnni|amx_(int8|bf16)"
)
PACKAGES = re.compile(
    r"edgex|numpy|opencv-python(-headless)?|pillow|onnxruntime(-gpu|-openvino)?|openvino|ai-edge-litert|tflite-runtime|"
    r"torch|tensorflow|tensorrt|picamera2"
)
# https://github.com/util-linux/util-linux/blob/master/sys-utils/lscpu-arm.c
ARM_PARTS = {
    "0x41/0xd03": "Cortex-A53",
    "0x41/0xd05": "Cortex-A55",
    "0x41/0xd07": "Cortex-A57",
    "0x41/0xd08": "Cortex-A72",
    "0x41/0xd0b": "Cortex-A76",
    "0x41/0xd42": "Cortex-A78AE",
    "0x4e/0x004": "Carmel",
}
# linux/videodev2.h: _IOR('V', 0, struct v4l2_capability), and what a camera can do but a codec or a metadata node not.
VIDIOC_QUERYCAP = 0x80685600
CAPABILITY_FORMAT = "16s32s32sIII3I"
CAP_VIDEO_CAPTURE, CAP_VIDEO_CAPTURE_MPLANE, CAP_DEVICE_CAPS = 0x1, 0x1000, 0x80000000
CAP_VIDEO_M2M = 0x8000 | 0x4000
# Names in sysfs of nodes that are parts of a Raspberry Pi's codecs and image processor, not cameras.
NO_CAMERA = re.compile(r"codec|isp|hevc|rpivid|pispbe|metadata", re.IGNORECASE)


class Machine:
    """The files and commands of a machine, or of a folder that stands for one."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.is_real = os.path.realpath(root) == "/"

    def path(self, name: str) -> str:
        """Where a file of the machine is."""
        return os.path.join(self.root, name.lstrip("/"))

    def text(self, name: str) -> str:
        """A file's text without its last line break; empty where there is none, or it may not be read."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read().strip("\n\0 ")
        except (OSError, ValueError):
            return ""

    def list(self, name: str) -> List[str]:
        """The names in a folder, sorted by their numbers; none where it is none."""
        try:
            names = os.listdir(self.path(name))
        except OSError:
            return []
        return sorted(names, key=lambda item: (re.sub(r"\d+", "", item), int(re.sub(r"\D", "", item) or 0), item))

    def exists(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        return os.path.exists(self.path(name))

    def run(self, *command: str) -> Optional[str]:
        """What a command prints; None where it is not installed, fails or hangs."""
        if not self.is_real:
            return self.text(".commands/" + " ".join(command).replace("/", "_")) or None
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                timeout=COMMAND_TIMEOUT_S,
                universal_newlines=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None


def facts(root: str) -> Dict[str, Any]:
    """Everything, in the shape of `facts.Facts`."""
    machine = Machine(root)
    user = _user_facts(machine)
    return {
        "schema": SCHEMA_VERSION,
        "time_s": time.time(),
        "system": _system_facts(machine),
        "python": _python_facts(),
        "cpu": _cpu_facts(machine),
        "memory": _memory_facts(machine),
        "disks": _disk_facts(machine),
        "board": _board_facts(machine),
        "user": user,
        "cameras": [
            _camera_facts(machine, user, name) for name in machine.list("/dev") if re.match(r"video[0-9]+$", name)
        ],
        "accelerators": _accelerator_facts(machine, user),
        "health": _health_facts(machine),
        "clock": _clock_facts(machine),
        "packages": _package_facts(),
    }


def _system_facts(machine: Machine) -> Dict[str, Any]:
    lines = [line.partition("=") for line in machine.text("/etc/os-release").splitlines()]
    release = {key: value.strip("\"'") for key, _, value in lines}
    recorded = (machine.run("uname", "-m") or "") if not machine.is_real else ""
    return {
        "machine": recorded or platform.machine(),
        "kernel": platform.release(),
        "os": release.get("PRETTY_NAME", ""),
        "os_codename": release.get("VERSION_CODENAME", ""),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
    }


def _python_facts() -> Dict[str, Any]:
    libc = (os.confstr("CS_GNU_LIBC_VERSION") or "") if "CS_GNU_LIBC_VERSION" in os.confstr_names else ""
    marker = os.path.join(os.path.dirname(os.__file__), "EXTERNALLY-MANAGED")
    is_virtual = sys.prefix != getattr(sys, "base_prefix", sys.prefix)
    return {
        "version": platform.python_version(),
        "executable": sys.executable or "",
        "bits": struct.calcsize("P") * 8,
        "glibc": libc.replace("glibc", "").strip(),
        "is_virtual": is_virtual,
        "is_managed": os.path.exists(marker) and not is_virtual,
    }


def _cpu_facts(machine: Machine) -> Dict[str, Any]:
    blocks = machine.text("/proc/cpuinfo").split("\n\n")
    cores = [dict(COLONS.findall(block)) for block in blocks]
    cores = [core for core in cores if "processor" in core]
    first = cores[0] if cores else {}
    flags = set((first.get("flags") or first.get("Features") or "").split())
    folder = "/sys/devices/system/cpu/cpu0/cpufreq/"
    khz = machine.text(folder + "cpuinfo_max_freq")
    return {
        "model": _arm_model(cores) or first.get("model name", ""),
        "cores": len(cores) or os.cpu_count() or 1,
        "usable": len(os.sched_getaffinity(0)) if machine.is_real else len(cores),
        "features": [flag for flag in sorted(flags) if FEATURES.fullmatch(flag)],
        "governor": machine.text(folder + "scaling_governor"),
        "max_mhz": int(khz) // 1000 if khz.isdigit() else None,
    }


def _arm_model(cores: List[Dict[str, str]]) -> str:
    parts = [core.get("CPU implementer", "") + "/" + core.get("CPU part", "") for core in cores]
    return " + ".join(sorted({ARM_PARTS[part] for part in parts if part in ARM_PARTS}))


def _memory_facts(machine: Machine) -> Dict[str, Any]:
    lines = dict(COLONS.findall(machine.text("/proc/meminfo")))
    limit = machine.text("/sys/fs/cgroup/memory.max")
    return {
        "total_mb": _mib(lines.get("MemTotal")),
        "available_mb": _mib(lines.get("MemAvailable")),
        "swap_mb": _mib(lines.get("SwapTotal")),
        "limit_mb": int(limit) // MIB if limit.isdigit() else None,
    }


def _mib(text: Optional[str]) -> Optional[int]:
    number = (text or "").partition(" ")[0]
    return int(number) // 1024 if number.isdigit() else None


def _disk_facts(machine: Machine) -> List[Dict[str, Any]]:
    mounts = [line.split() for line in machine.text("/proc/mounts").splitlines()]
    home = os.path.expanduser("~") if machine.is_real else "/"
    found: Dict[str, Dict[str, Any]] = {}
    for name in ("/", home, "/tmp"):
        if not machine.exists(name):
            continue
        fitting = [mount for mount in mounts if len(mount) > 3 and (name + "/").startswith(mount[1].rstrip("/") + "/")]
        mount = max(fitting, key=lambda item: len(item[1])) if fitting else ["", name, "", ""]
        usage = shutil.disk_usage(machine.path(name))
        found.setdefault(
            mount[1],
            {
                "path": name,
                "total_mb": usage.total // MIB,
                "free_mb": usage.free // MIB,
                "device": mount[0],
                "filesystem": mount[2],
                "is_read_only": "ro" in mount[3].split(","),
            },
        )
    return list(found.values())


def _board_facts(machine: Machine) -> Dict[str, Any]:
    compatible = machine.text("/proc/device-tree/compatible")
    return {
        "model": machine.text("/proc/device-tree/model"),
        "compatible": [item for item in compatible.split("\0") if item],
        "vendor": machine.text("/sys/class/dmi/id/sys_vendor"),
        "product": machine.text("/sys/class/dmi/id/product_name"),
    }


def _user_facts(machine: Machine) -> Dict[str, Any]:
    """Who this is: the groups in force, and those that are in force after the next login."""
    answer = machine.run("id") or ""
    names = re.findall(r"(\d+)\(([^)]+)\)", answer)
    uid = re.match(r"uid=(\d+)(?:\(([^)]+)\))?", answer)
    name = uid.group(2) or "" if uid else ""
    lines = [line.split(":") for line in machine.text("/etc/group").splitlines()]
    listed = [fields[0] for fields in lines if len(fields) > 3 and name and name in fields[3].split(",")]
    return {
        "name": name,
        "uid": int(uid.group(1)) if uid else -1,
        "groups": sorted({group for _, group in names[1:]}),
        "listed": sorted(listed),
        "gids": sorted({int(number) for number, _ in names[1:]}),
    }


def _node_facts(machine: Machine, user: Dict[str, Any], path: str) -> Dict[str, Any]:
    """A device file: its group by name, and whether this user may read and write it."""
    lines = [line.split(":") for line in machine.text("/etc/group").splitlines()]
    groups = {fields[2]: fields[0] for fields in lines if len(fields) > 2}
    info = os.stat(machine.path(path))
    may = user["uid"] == 0
    for owns, bits in (
        (user["uid"] == info.st_uid, stat.S_IRUSR | stat.S_IWUSR),
        (info.st_gid in user["gids"], stat.S_IRGRP | stat.S_IWGRP),
        (True, stat.S_IROTH | stat.S_IWOTH),
    ):
        if owns:
            may = may or info.st_mode & bits == bits
            break
    return {"path": path, "group": groups.get(str(info.st_gid), str(info.st_gid)), "may_open": may}


def _camera_facts(machine: Machine, user: Dict[str, Any], name: str) -> Dict[str, Any]:
    node = _node_facts(machine, user, "/dev/" + name)
    title = machine.text(f"/sys/class/video4linux/{name}/name")
    captures = None if NO_CAMERA.search(title) is None else False
    if captures is None and machine.is_real and node["may_open"]:
        captures = _can_capture(node["path"])
    node.update(name=title, captures=captures)
    return node


def _can_capture(path: str) -> Optional[bool]:
    """What the driver says of a node; None where it cannot be asked."""
    import fcntl

    answer = bytearray(struct.calcsize(CAPABILITY_FORMAT))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.ioctl(descriptor, VIDIOC_QUERYCAP, answer)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return is_camera(bytes(answer))


def is_camera(capability: bytes) -> bool:
    """Whether a struct v4l2_capability is of a node that gives pictures."""
    everything, node = struct.unpack(CAPABILITY_FORMAT, capability)[4:6]
    can = node if everything & CAP_DEVICE_CAPS else everything
    return bool(can & (CAP_VIDEO_CAPTURE | CAP_VIDEO_CAPTURE_MPLANE)) and not can & CAP_VIDEO_M2M


def _accelerator_facts(machine: Machine, user: Dict[str, Any]) -> Dict[str, Any]:
    asked = "--query-gpu=name,driver_version"
    nvidia = machine.run("nvidia-smi", asked, "--format=csv,noheader") or ""
    intel = [name for name in machine.list("/sys/class/drm") if _is_intel_gpu(machine, name)]
    nodes = ["/dev/dri/" + name for name in machine.list("/dev/dri") if name.startswith("renderD")]
    npu = machine.list("/sys/bus/pci/drivers/intel_vpu")
    nodes += ["/dev/accel/" + name for name in machine.list("/dev/accel")]
    tpu = ["/dev/" + name for name in machine.list("/dev") if name.startswith("apex_")]
    return {
        "nvidia": [line.strip() for line in nvidia.splitlines() if line.strip()],
        "nvidia_module": machine.text("/proc/driver/nvidia/version").partition("\n")[0],
        "jetson": machine.text("/etc/nv_tegra_release").partition("\n")[0],
        "intel_gpu": bool(intel),
        "intel_npu": any(re.match(r"[0-9a-f]{4}:", name) for name in npu),
        "edge_tpu": tpu + _coral_sticks(machine),
        "nodes": [_node_facts(machine, user, path) for path in nodes + tpu],
    }


def _is_intel_gpu(machine: Machine, name: str) -> bool:
    vendor = machine.text(f"/sys/class/drm/{name}/device/vendor")
    return re.match(r"card\d+$", name) is not None and vendor == "0x8086"


def _coral_sticks(machine: Machine) -> List[str]:
    """USB accelerators: 1a6e:089a before their first use, 18d1:9302 after it."""
    folder = "/sys/bus/usb/devices"
    found = []
    for name in machine.list(folder):
        ids = tuple(machine.text(f"{folder}/{name}/{part}") for part in ("idVendor", "idProduct"))
        if ids in (("1a6e", "089a"), ("18d1", "9302")):
            found.append("usb " + name)
    return found


def temperatures(machine: Machine) -> List[Dict[str, Any]]:
    """The sensors that can be read, each with its name and its degrees."""
    folder = "/sys/class/thermal"
    zones = []
    for name in machine.list(folder):
        milli = machine.text(f"{folder}/{name}/temp")
        if name.startswith("thermal_zone") and re.match(r"-?\d+$", milli):
            zones.append({"name": machine.text(f"{folder}/{name}/type"), "celsius": int(milli) / 1000})
    return zones


def _health_facts(machine: Machine) -> Dict[str, Any]:
    throttled = re.search(r"0x[0-9a-fA-F]+", machine.run("vcgencmd", "get_throttled") or "")
    return {
        "zones": temperatures(machine),
        "throttled": int(throttled.group(), 16) if throttled else None,
        "undervoltage": _undervoltage(machine),
        "throttle_count": _throttle_count(machine),
        "power_mode": " ".join((machine.run("nvpmodel", "-q") or "").split()),
    }


def _undervoltage(machine: Machine) -> Optional[bool]:
    """The Raspberry Pi's own alarm, where its kernel has it."""
    for name in machine.list("/sys/class/hwmon"):
        if machine.text(f"/sys/class/hwmon/{name}/name") == "rpi_volt":
            alarm = machine.text(f"/sys/class/hwmon/{name}/in0_lcrit_alarm")
            return alarm == "1" if alarm else None
    return None


def _throttle_count(machine: Machine) -> Optional[int]:
    """How often an Intel CPU's cores were slowed down by heat since the start; None for others."""
    folder = "/sys/devices/system/cpu"
    texts = [
        machine.text(f"{folder}/{name}/thermal_throttle/core_throttle_count")
        for name in machine.list(folder)
        if re.match(r"cpu\d+$", name)
    ]
    counts = [int(text) for text in texts if text.isdigit()]
    return sum(counts) if counts else None


def _clock_facts(machine: Machine) -> Dict[str, Any]:
    answer = machine.run("timedatectl", "show", "--property=NTPSynchronized", "--value")
    synchronised = {"yes": True, "no": False}.get(answer or "")
    if synchronised is None and machine.exists("/run/systemd/timesync/synchronized"):
        synchronised = True
    return {"is_synchronised": synchronised, "has_rtc": bool(machine.list("/sys/class/rtc"))}


def _package_facts() -> Dict[str, str]:
    """Name → version of what this Python would import; the folders' names say it, in every Python."""
    found: Dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for item in names:
            match = re.match(r"(.+?)-([^-]+)(?:-.*)?\.(?:dist|egg)-info$", item)
            name = re.sub(r"[-_.]+", "-", match.group(1)).lower() if match else ""
            if match and PACKAGES.fullmatch(name):
                found.setdefault(name, match.group(2))
    return found


def main() -> None:
    """Print the facts."""
    parser = argparse.ArgumentParser(description="Print what this machine is and how it fares, as JSON.")
    parser.add_argument("--root", default="/", help="a folder that stands for the machine")
    json.dump(facts(parser.parse_args().root), sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
