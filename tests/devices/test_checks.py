"""Findings are functions of facts: each fault is planted in a healthy board's facts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest

from edgex_devices.checks.engines import check_runs
from edgex_devices.checks.health import check_offset
from edgex_devices.doctor import CHECKS
from edgex_devices.engine_check import EngineRun
from edgex_devices.facts import CameraFacts, Facts, NodeFacts, ZoneFacts
from edgex_devices.finding import Finding, Severity, worst
from edgex_devices.profile import load_profile

Change = Callable[[Facts], Facts]


def part(name: str, **changes: Any) -> Change:
    """The same facts with other values in one part."""
    return lambda facts: replace(facts, **{name: replace(getattr(facts, name), **changes)})


def camera(**changes: Any) -> Change:
    usual = {"path": "/dev/video0", "group": "video", "may_open": True, "name": "webcam", "captures": True}
    return lambda facts: replace(facts, cameras=(CameraFacts(**{**usual, **changes}),))


def findings(facts: Facts, board: str = "raspberry-pi-5") -> list[Finding]:
    profile = load_profile(board, [])
    return [finding for check in CHECKS for finding in check(facts, profile)]


@pytest.fixture
def healthy(pi5: Facts) -> Facts:
    """A board that has nothing to mend."""
    for change in (
        part("python", version="3.11.2", bits=64, glibc="2.36", is_managed=False, is_virtual=True),
        part("health", throttled=0, zones=(ZoneFacts(name="cpu", celsius=50.0),)),
        camera(),
    ):
        pi5 = change(pi5)
    disk = replace(pi5.disks[0], free_mb=9000, total_mb=29000)
    return replace(pi5, packages={"edgex": "0.1.0", "ai-edge-litert": "2.3.0", "numpy": "2.4.6"}, disks=(disk,))


def disk(**changes: Any) -> Change:
    return lambda facts: replace(facts, disks=(replace(facts.disks[0], **changes),))


def packages(**versions: str) -> Change:
    return lambda facts: replace(facts, packages={name.replace("_", "-"): value for name, value in versions.items()})


def test_a_healthy_board_has_nothing_to_mend(healthy: Facts) -> None:
    found = findings(healthy)
    assert worst(found) == "ok", [finding for finding in found if finding.severity != "ok"]
    assert {"board", "python", "wheels", "cpu", "memory", "disk", "camera", "throttling", "temperature", "clock"} == {
        finding.check for finding in found
    }


@pytest.mark.parametrize(
    ("change", "check", "severity", "what", "mend"),
    [
        (camera(may_open=False), "camera", "error", "pi may not open it", "sudo usermod -aG video pi"),
        (lambda facts: replace(facts, cameras=()), "camera", "note", "no camera", "v4l2-ctl"),
        (camera(captures=False), "camera", "note", "1 video devices are none", "v4l2-ctl"),
        (camera(name="rp1-cfe-csi2_ch0"), "camera", "note", "ribbon cable (CSI): /dev/video0", "csi://0"),
        (part("python", version="3.9.2"), "python", "error", "Python 3.9.2", "newer system"),
        (part("python", bits=32), "python", "error", "32-bit Python on a aarch64", "64-bit system"),
        (part("python", glibc=""), "python", "error", "musl", "glibc"),
        (part("python", is_managed=True), "python", "note", "belongs to the system", "python3 -m venv"),
        (part("python", glibc="2.31"), "wheels", "note", "openvino 2026.4.1 wants glibc 2.35", "newer system"),
        (part("python", glibc="2.19"), "wheels", "error", "wants glibc 2.27", "newer system"),
        (part("python", version="3.14.0"), "wheels", "note", "not known; known are 3.11, 3.13", "--only-binary"),
        (packages(), "packages", "note", "edgex is not installed", "pip install 'edgex[tflite]'"),
        (packages(edgex="0.1.0"), "packages", "error", "no engine is installed", "pip install 'edgex[tflite]'"),
        (
            packages(edgex="1", openvino="1", opencv_python="5", opencv_python_headless="5"),
            "packages",
            "warning",
            "opencv-python and opencv-python-headless",
            "pip uninstall",
        ),
        (
            packages(edgex="1", onnxruntime="1", onnxruntime_gpu="1"),
            "packages",
            "warning",
            "onnxruntime and onnxruntime-gpu",
            "pip uninstall",
        ),
        (
            packages(edgex="1", tflite_runtime="2.14.0", numpy="2.0.1"),
            "packages",
            "error",
            "with numpy 2.0.1",
            "numpy<2",
        ),
        (part("system", page_bytes=16384), "pages", "note", "16 KiB", "kernel8.img"),
        (part("cpu", features=("asimd",)), "cpu", "note", "without asimddp", "edgex tune"),
        (part("cpu", governor="powersave"), "cpu", "warning", "powersave", "scaling_governor"),
        (part("cpu", usable=2), "cpu", "note", "2 of 4 cores", "--threads"),
        (part("memory", available_mb=200), "memory", "warning", "200 MB", "free -m"),
        (part("memory", available_mb=50), "memory", "error", "50 MB", "free -m"),
        (part("memory", limit_mb=60), "memory", "error", "60 MB", "free -m"),
        (disk(free_mb=500), "disk", "warning", "500 MB", "df -h"),
        (disk(free_mb=5), "disk", "error", "5 MB", "df -h"),
        (disk(is_read_only=True), "disk", "warning", "read-only", "dmesg"),
        (
            part("health", throttled=0x50005),
            "throttling",
            "warning",
            "voltage is too low, the CPU is throttled",
            "supply",
        ),
        (part("health", throttled=0x80000), "throttling", "note", "soft limit", "heat sink"),
        (part("health", throttled=None, undervoltage=True), "throttling", "warning", "rpi_volt", "supply"),
        (part("health", throttle_count=7), "throttling", "note", "7 times", "fan"),
        (part("health", zones=(ZoneFacts(name="cpu", celsius=83.4),)), "temperature", "warning", "83 °C", "fan"),
        (part("clock", is_synchronised=False), "clock", "warning", "not held", "set-ntp true"),
        (part("clock", is_synchronised=None), "clock", "note", "nobody says", "timedatectl"),
        (part("clock", has_rtc=False), "clock", "note", "RTC", "RTC module"),
        (part("accelerators", edge_tpu=("usb 1-1",)), "accelerator", "note", "Edge TPU", ""),
        (
            part("accelerators", nvidia_module="NVRM 550"),
            "accelerator",
            "warning",
            "nvidia-smi shows no card",
            "nvidia-smi",
        ),
        (
            part("accelerators", nodes=(NodeFacts(path="/dev/dri/renderD128", group="render", may_open=False),)),
            "accelerator",
            "warning",
            "renderD128",
            "usermod -aG render",
        ),
    ],
)
def test_a_fault_is_found_with_what_mends_it(
    healthy: Facts, change: Change, check: str, severity: str, what: str, mend: str
) -> None:
    (found,) = [finding for finding in findings(change(healthy)) if finding.severity != "ok" and what in finding.what]
    assert (found.check, found.severity) == (check, severity)
    assert mend in found.mend
    assert found.why


def test_a_group_joined_but_not_logged_into_asks_for_a_new_login(healthy: Facts) -> None:
    facts = part("user", listed=("video",))(camera(may_open=False)(healthy))
    (found,) = [finding for finding in findings(facts) if finding.severity == "error"]
    assert "not yet in this session" in found.what
    assert "log out" in found.mend


def test_an_x86_cpu_is_judged_by_its_own_instructions(healthy: Facts) -> None:
    pc = part("system", machine="x86_64")(part("cpu", features=("avx2", "avx512_vnni"))(healthy))
    assert any("AVX-512 VNNI for int8" in finding.what for finding in findings(pc, "x86-64"))
    old = [finding for finding in findings(part("cpu", features=())(pc), "x86-64") if finding.check == "cpu"]
    assert [finding.severity for finding in old] == ["note", "warning"]


def test_a_clock_that_is_far_off_is_an_error(healthy: Facts) -> None:
    assert worst(check_offset(healthy, healthy.time_s + 2)) == "ok"
    (found,) = check_offset(healthy, healthy.time_s + 3600)
    assert (found.severity, found.what) == ("error", "-3600 s from this machine's clock")


@pytest.mark.parametrize(
    ("run", "severity", "what"),
    [
        (
            {"verdict": "right", "version": "1", "ran_on": "cpu", "ms": 0.5},
            "ok",
            "on cpu, with the right answers, 0.50 ms",
        ),
        ({"verdict": "wrong", "why": "a logit is off"}, "error", "wrong answers on cpu"),
        ({"verdict": "failed", "why": "SIGILL"}, "error", "does not run on cpu: SIGILL"),
        ({"verdict": "failed", "why": "no driver", "device": "gpu"}, "warning", "does not run on gpu"),
    ],
)
def test_what_an_engine_did_becomes_a_finding(healthy: Facts, run: dict[str, Any], severity: str, what: str) -> None:
    (found,) = check_runs(healthy, [EngineRun(**{"engine": "e", "device": "cpu", "model": "m", **run})])
    assert found.severity == severity
    assert what in found.what


def test_an_unused_accelerator_is_a_finding_only_where_there_is_one(healthy: Facts) -> None:
    run = EngineRun(engine="onnxruntime", device="gpu", model="m", verdict="unavailable", why="has cpu")
    assert list(check_runs(healthy, [run])) == []
    assert list(check_runs(part("accelerators", intel_gpu=True)(healthy), [run])) == []
    (found,) = check_runs(part("accelerators", nvidia=("T4, 550",))(healthy), [run])
    assert (found.severity, found.mend) == ("warning", "pip uninstall onnxruntime; pip install 'edgex[onnx-gpu]'")


def test_an_engine_that_is_not_installed_is_no_finding(healthy: Facts) -> None:
    absent = EngineRun(engine="openvino", device="cpu", model="m", verdict="absent", why="pip install …")
    assert list(check_runs(healthy, [absent])) == []


def test_severities_are_ordered() -> None:
    each = [Finding(check="c", severity=severity, what="w") for severity in get_args(Severity)]
    assert [worst(each[: n + 1]) for n in range(4)] == ["ok", "note", "warning", "error"]
    assert worst([]) == "ok"
