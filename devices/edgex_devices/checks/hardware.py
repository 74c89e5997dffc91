"""The CPU, memory, disks, cameras and accelerators."""

import re
from collections.abc import Iterator

from edgex_devices.facts import CameraFacts, Facts
from edgex_devices.finding import Finding, Severity
from edgex_devices.profile import Profile

# What the smallest engine and its model take (docs/benchmarks.md), and what an installation of it takes on the disk.
LOW_MEMORY_MB = 256
LEAST_MEMORY_MB = 96
LOW_DISK_MB = 1024
LEAST_DISK_MB = 128
# What the drivers of a Raspberry Pi's camera connector are called in sysfs.
_RIBBON = re.compile("unicam|rp1-cfe")


def check_cpu(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """Instruction sets for int8 and at all."""
    cpu, features = facts.cpu, facts.cpu.features
    name = f"{cpu.model or 'CPU'}, {cpu.cores} cores"
    if facts.system.machine == "aarch64":
        fast = [title for flag, title in (("asimddp", "dot-product"), ("i8mm", "i8mm")) if flag in features]
        missing, slower = "asimddp", "without dot-product instructions int8 gains less over fp32"
    else:
        fast = [title for flag, title in _X86_INT8 if flag in features]
        missing, slower = "VNNI", "without VNNI int8 gains less, and 8-bit sums can saturate (docs/adr/0010-int8.md)"
    if fast:
        yield Finding(check="cpu", severity="ok", what=f"{name}: {', '.join(fast)} for int8")
    else:
        yield Finding(
            check="cpu",
            severity="note",
            what=f"{name}, without {missing}",
            why=slower,
            mend="edgex tune MODEL measures it",
        )
    if facts.system.machine == "x86_64" and "avx2" not in features:
        yield Finding(
            check="cpu",
            severity="warning",
            what="no AVX2",
            why="engines fall back to code that is several times slower, or stop",
            mend="in a virtual machine: pass the host's CPU through",
        )


def check_cpu_limits(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """What holds the CPU back."""
    cpu = facts.cpu
    if cpu.governor == "powersave":
        yield Finding(
            check="cpu",
            severity="warning",
            what="the frequency governor is powersave",
            why="the clock may stay low while a model runs",
            mend="echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    if 0 < cpu.usable < cpu.cores:
        yield Finding(
            check="cpu",
            severity="note",
            what=f"this process may use {cpu.usable} of {cpu.cores} cores",
            why="more threads than that only wait for each other",
            mend="edgex live --threads N, or the limits of the container",
        )


_X86_INT8 = (("avx512_vnni", "AVX-512 VNNI"), ("avx_vnni", "AVX VNNI"), ("amx_int8", "AMX"))


def check_memory(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """What is free now."""
    memory = facts.memory
    if memory.available_mb is None or memory.total_mb is None:
        yield Finding(check="memory", severity="note", what="how much memory is free is not known")
        return
    free = min(memory.available_mb, memory.limit_mb or memory.available_mb)
    what = f"{free} MB of {memory.total_mb} MB are free"
    severity: Severity = "error" if free < LEAST_MEMORY_MB else "warning" if free < LOW_MEMORY_MB else "ok"
    if severity == "ok":
        yield Finding(check="memory", severity=severity, what=what)
    else:
        yield Finding(
            check="memory",
            severity=severity,
            what=what,
            why="an engine with its model takes 100 to 300 MB, and the kernel ends what takes more than there is",
            mend="stop other programs (free -m; on a Pi: sudo systemctl set-default multi-user.target)",
        )


def check_disks(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """Room for an installation."""
    for disk in facts.disks:
        what = f"{disk.free_mb} MB of {disk.total_mb} MB are free under {disk.path} ({disk.device} {disk.filesystem})"
        if disk.is_read_only:
            yield Finding(
                check="disk",
                severity="warning",
                what=f"{disk.path} is read-only ({disk.device})",
                why="nothing can be installed or remembered there; a failing SD card becomes read-only by itself",
                mend="dmesg | grep -i 'remount\\|mmc'",
            )
        elif disk.free_mb < LOW_DISK_MB:
            yield Finding(
                check="disk",
                severity="error" if disk.free_mb < LEAST_DISK_MB else "warning",
                what=what,
                why="an engine takes up to 250 MB, and a deploy keeps two releases",
                mend="df -h; sudo apt clean; sudo journalctl --vacuum-size=50M",
            )
        else:
            yield Finding(check="disk", severity="ok", what=what)


def check_cameras(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """Cameras, and whether the user may open them."""
    ribbon = [camera.path for camera in facts.cameras if _RIBBON.search(camera.name)]
    cameras = [item for item in facts.cameras if item.captures is not False and item.path not in ribbon]
    if ribbon:
        yield Finding(
            check="camera",
            severity="note",
            what=f"a camera on the ribbon cable (CSI): {', '.join(ribbon)} give its raw data",
            why="OpenCV reads no pictures from these",
            mend="sudo apt install rpicam-apps, and edgex live MODEL csi://0 (a Jetson reads it by nvarguscamerasrc)",
        )
    elif not cameras:
        others = f"; {len(facts.cameras)} video devices are none" if facts.cameras else ""
        yield Finding(
            check="camera",
            severity="note",
            what=f"no camera is plugged in{others}",
            why="edgex live would have nothing to look at but files, streams and test://shapes",
            mend="plug it in; v4l2-ctl --list-devices",
        )
    for camera in cameras:
        title = f"{camera.path}{f' ({camera.name})' if camera.name else ''}"
        if camera.may_open:
            yield Finding(check="camera", severity="ok", what=f"{title} may be opened")
        else:
            yield _closed(facts, camera, title)


def _closed(facts: Facts, camera: CameraFacts, title: str) -> Finding:
    user = facts.user.name or "the user"
    if camera.group in facts.user.listed and camera.group not in facts.user.groups:
        what = f"{title}: {user} is in group {camera.group}, but not yet in this session"
        mend = "log out and in again, or start the machine anew"
    else:
        what = f"{title}: {user} may not open it, it belongs to group {camera.group}"
        mend = f"sudo usermod -aG {camera.group} {facts.user.name or '$USER'}, and log in again"
    return Finding(
        check="camera", severity="error", what=what, why="edgex live gets Permission denied from this camera", mend=mend
    )


def check_accelerators(facts: Facts, profile: Profile | None) -> Iterator[Finding]:
    """What is there beside the CPU, and whether it may be used."""
    there = facts.accelerators
    for card in there.nvidia:
        yield Finding(check="accelerator", severity="ok", what=f"NVIDIA {card}")
    if there.nvidia_module and not there.nvidia and not there.jetson:
        yield Finding(
            check="accelerator",
            severity="warning",
            what="the NVIDIA driver is loaded, but nvidia-smi shows no card",
            why="driver and tools of different versions, or a card that has fallen off the bus: CUDA will not start",
            mend="nvidia-smi; dmesg | grep -i nvrm",
        )
    if there.jetson:
        mode = f"; power mode {facts.health.power_mode}" if facts.health.power_mode else ""
        yield Finding(check="accelerator", severity="ok", what=f"{there.jetson}{mode}")
    for name, is_there in (("Intel graphics", there.intel_gpu), ("Intel NPU", there.intel_npu)):
        if is_there:
            yield Finding(check="accelerator", severity="ok", what=f"{name} is there")
    for tpu in there.edge_tpu:
        yield Finding(
            check="accelerator",
            severity="note",
            what=f"an Edge TPU is there ({tpu})",
            why="edgex has no engine for it: models run on the CPU",
        )
    for node in there.nodes:
        if not node.may_open:
            yield Finding(
                check="accelerator",
                severity="warning",
                what=f"{node.path}: {facts.user.name or 'the user'} may not open it, it belongs to group {node.group}",
                why="the accelerator stays unused: models run on the CPU without a word",
                mend=f"sudo usermod -aG {node.group} {facts.user.name or '$USER'}, and log in again",
            )
