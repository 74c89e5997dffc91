import ast
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import edgex_devices
from edgex_devices.facts import Facts
from edgex_devices.host import Host, parse_facts, probe
from edgex_devices.probe import CAPABILITY_FORMAT, is_camera
from edgex_runtime.errors import BadInputError, DeviceUnavailableError, SpecError
from edgex_runtime.schema import to_plain

Make = Callable[..., Path]
Probe = Callable[..., Facts]
PROBE = Path(edgex_devices.__file__).with_name("probe.py")


def test_reads_a_raspberry_pi(pi5: Facts) -> None:
    assert pi5.board.model == "Raspberry Pi 5 Model B Rev 1.0"
    assert pi5.board.compatible == ("raspberrypi,5-model-b", "brcm,bcm2712")
    assert (pi5.system.machine, pi5.system.os_codename) == ("aarch64", "bookworm")
    assert (pi5.cpu.model, pi5.cpu.cores, pi5.cpu.max_mhz, pi5.cpu.governor) == ("Cortex-A76", 4, 2400, "ondemand")
    assert pi5.cpu.features == ("asimd", "asimddp", "asimdhp", "fphp")
    assert (pi5.memory.total_mb, pi5.memory.available_mb) == (8063, 7168)
    assert (pi5.disks[0].device, pi5.disks[0].filesystem, pi5.disks[0].is_read_only) == (
        "/dev/mmcblk0p2",
        "ext4",
        False,
    )
    assert [(zone.name, zone.celsius) for zone in pi5.health.zones] == [("cpu-thermal", 61.25)]
    assert (pi5.health.throttled, pi5.health.undervoltage) == (0x50000, False)
    assert (pi5.clock.is_synchronised, pi5.clock.has_rtc) == (True, True)
    assert (pi5.user.name, pi5.user.uid, pi5.user.groups) == ("pi", 64321, ("pi", "sudo"))


def test_a_camera_of_another_group_may_not_be_opened(pi5: Facts) -> None:
    camera = pi5.cameras[0]
    assert (camera.path, camera.name, camera.group, camera.may_open) == (
        "/dev/video0",
        "HD Pro Webcam C920",
        "video",
        False,
    )


def test_a_codec_is_no_camera(pi5: Facts) -> None:
    assert [(camera.name, camera.captures) for camera in pi5.cameras] == [
        ("HD Pro Webcam C920", None),
        ("rpi-hevc-dec", False),
    ]


@pytest.mark.parametrize(
    ("everything", "node", "gives_pictures"),
    [
        (0x84A00001, 0x04200001, True),  # a webcam
        (0x84A00001, 0x04A00000, False),  # the same webcam's metadata
        (0x84204000, 0x04204000, False),  # a codec
        (0x84208003, 0x04208003, False),  # an older codec, which says that it captures as well
        (0x84201000, 0x04201000, True),  # a camera of several planes
        (0x04000001, 0x00000000, True),  # an old driver, which speaks of the whole device only
    ],
)
def test_a_node_is_a_camera_by_what_its_driver_says(everything: int, node: int, gives_pictures: bool) -> None:
    answer = struct.pack(CAPABILITY_FORMAT, b"uvcvideo", b"C920", b"usb", 0x60000, everything, node, 0, 0, 0)
    assert len(answer) == 104
    assert is_camera(answer) == gives_pictures


def test_a_camera_of_the_users_group_may_be_opened(make_machine: Make, probe_machine: Probe) -> None:
    answer = f"uid=64321(pi) gid=64321(pi) groups=64321(pi),{os.getgid()}(video)"
    assert probe_machine(make_machine({".commands/id": answer})).cameras[0].may_open


def test_a_group_that_was_joined_but_not_logged_into_is_told_apart(make_machine: Make, probe_machine: Probe) -> None:
    facts = probe_machine(make_machine({"etc/group": f"video:x:{os.getgid()}:pi\n"}))
    assert ("video" in facts.user.groups, "video" in facts.user.listed) == (False, True)


def test_a_cpu_of_a_part_that_is_not_known_is_called_what_the_kernel_calls_it(
    make_machine: Make, probe_machine: Probe
) -> None:
    text = "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\nCPU implementer\t: 0x99\nCPU part\t: 0x001\n"
    assert probe_machine(make_machine({"proc/cpuinfo": text})).cpu.model == "ARMv8 Processor rev 1 (v8l)"


def test_what_is_not_there_is_unknown_and_no_error(tmp_path: Path, probe_machine: Probe) -> None:
    facts = probe_machine(tmp_path)
    assert facts.board.model == facts.cpu.model == facts.user.name == ""
    assert facts.memory.total_mb is None
    assert (facts.health.throttled, facts.health.undervoltage, facts.health.throttle_count) == (None, None, None)
    assert facts.clock.is_synchronised is None
    assert facts.cameras == ()


def test_reads_accelerators_and_their_permissions(make_machine: Make, probe_machine: Probe) -> None:
    root = make_machine(
        {
            ".commands/nvidia-smi --query-gpu=name,driver_version --format=csv,noheader": "NVIDIA T4, 550.54",
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3\n# more",
            "sys/class/drm/card0/device/vendor": "0x8086\n",
            "sys/class/drm/card0-HDMI-A-1/status": "connected\n",
            "sys/bus/pci/drivers/intel_vpu/0000:00:0b.0": "",
            "sys/bus/usb/devices/1-1/idVendor": "18d1\n",
            "sys/bus/usb/devices/1-1/idProduct": "9302\n",
            "dev/dri/renderD128": "",
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
            "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
        }
    )
    (root / "dev/dri/renderD128").chmod(0o600)
    facts = probe_machine(root)
    there = facts.accelerators
    assert (there.nvidia, there.jetson) == (("NVIDIA T4, 550.54",), "# R36 (release), REVISION: 4.3")
    assert (there.intel_gpu, there.intel_npu, there.edge_tpu) == (True, True, ("usb 1-1",))
    assert [(node.path, node.may_open) for node in there.nodes] == [("/dev/dri/renderD128", False)]
    assert facts.health.throttle_count == 7


def test_the_real_machine_has_facts() -> None:
    facts, now_s = probe(Host())
    assert facts.cpu.cores == os.cpu_count()
    assert abs(facts.time_s - now_s) < 30
    assert facts.disks[0].path == "/"
    assert facts.memory.total_mb
    assert facts.packages["numpy"]


def test_nothing_of_edgex_is_imported_by_the_probe() -> None:
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(ast.parse(PROBE.read_text()))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    from_ = {
        str(node.module).partition(".")[0]
        for node in ast.walk(ast.parse(PROBE.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert "edgex_devices" not in imported | from_
    assert imported | from_ <= set(sys.stdlib_module_names)


def _pythons() -> list[str]:
    """Old and new Pythons that this machine happens to have."""
    roots = (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python")
    return [str(path) for path in sorted(roots)] + [path for path in [shutil.which("python3.13")] if path]


def test_the_probe_runs_on_old_pythons(make_machine: Make, probe_machine: Probe) -> None:
    tried = []
    root = make_machine()
    for python in _pythons():
        version = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True
        )
        if tuple(map(int, version.stdout.split() or ["0"])) >= (3, 6):
            assert probe_machine(root, python).board.model.startswith("Raspberry Pi 5")
            tried.append(python)
    if not tried:
        pytest.skip("no other Python is here; pyenv install 3.7")


def test_the_probe_is_python_3_7_at_most() -> None:
    ast.parse(PROBE.read_text(), feature_version=(3, 7))


def test_a_greeting_before_the_facts_is_skipped(pi5: Facts) -> None:
    assert parse_facts("Welcome to pi\n" + json.dumps(to_plain(pi5), indent=1), where="pi") == pi5


def test_an_answer_without_facts_is_refused() -> None:
    with pytest.raises(SpecError, match="want the probe's facts as JSON, got 'command not found'"):
        parse_facts("command not found", where="pi")


def test_facts_of_another_schema_are_refused(pi5: Facts) -> None:
    text = json.dumps({**to_plain(pi5), "schema": 9}, indent=1)
    with pytest.raises(SpecError, match="schema 1, got 9"):
        parse_facts(text, where="pi")


def test_a_python_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInputError, match="/no/such/python is not installed here"):
        probe(Host(python="/no/such/python"))


def test_a_host_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host nowhere\n  HostName 127.0.0.1\n  Port 1\n")
    if shutil.which("ssh") is None:
        pytest.skip("no ssh here: apt-get install openssh-client")
    with pytest.raises(DeviceUnavailableError, match=r"nowhere: ssh cannot reach it: .*refused"):
        probe(Host(name="nowhere", ssh_config=config))


def test_a_host_cannot_smuggle_options_into_ssh() -> None:
    command = Host(name="-oProxyCommand=touch /tmp/x").command("-")
    assert command[command.index("--") + 1] == "-oProxyCommand=touch /tmp/x"
