"""The systemd units: that systemd understands every line, and how hard they make it for whoever gets in."""

import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from edgex_devices.agent.service import UserSystemd
from edgex_devices.agent.store import Store
from edgex_devices.unit import UnitOptions, journald_conf, needs_network, system_unit, user_unit
from edgex_runtime.errors import DeployError

# What `systemd-analyze security` may say at most, of 10 (systemd 252 says 0.9, 1.8 and 0.9).
MAX_EXPOSURE = {"camera": 1.0, "stream": 1.9, "gpu": 1.0}
OPTIONS = {
    "camera": {"network": False, "gpu": False},
    "stream": {"network": True, "gpu": False},
    "gpu": {"network": False, "gpu": True},
}


def options(*, network: bool, gpu: bool) -> UnitOptions:
    return UnitOptions(
        app="light",
        title="light.onnx",
        start_s=180.0,
        watchdog_s=30.0,
        memory_limit_mb=512,
        network=network,
        gpu=gpu,
    )


@pytest.fixture
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: apt install systemd")
    return program


@pytest.mark.parametrize("kind", OPTIONS)
def test_is_as_closed_as_is_stated(kind: str, analyze: str, tmp_path: Path) -> None:
    path = tmp_path / "edgex-light.service"
    path.write_text(system_unit(options(**OPTIONS[kind])))
    command = [analyze, "security", "--no-pager", "--offline=true", path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    level = re.search(r"exposure level for edgex-light.service: ([\d.]+)", done.stdout)
    assert level is not None
    assert float(level[1]) <= MAX_EXPOSURE[kind]


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("scope", ["system", "user"])
def test_systemd_understands_every_line(kind: str, scope: str, analyze: str, tmp_path: Path) -> None:
    path = tmp_path / "edgex-light.service"
    path.write_text((system_unit if scope == "system" else user_unit)(options(**OPTIONS[kind])))
    done = subprocess.run([analyze, "verify", "--man=no", path], capture_output=True, text=True, check=False)
    # It only warns of a misspelt key, and exits 0; the app's folder is not on this machine.
    said = [
        line for line in done.stderr.splitlines() if "edgex-light.service" in line and "is not executable" not in line
    ]
    assert said == []


def test_a_gpus_unit_may_open_what_cuda_opens() -> None:
    """Beside the card itself that is nvidia-uvm, whose name in /proc/devices is its own."""
    allowed = re.findall(r"^DeviceAllow=(\S+) rw$", system_unit(options(network=False, gpu=True)), flags=re.MULTILINE)
    for group in ("nvidia-frontend", "nvidia", "nvidia-uvm", "drm", "accel"):
        assert any(fnmatchcase(f"char-{group}", pattern) for pattern in allowed), group


def test_nobody_is_root_and_nothing_but_its_own_state_is_writable() -> None:
    lines = system_unit(options(network=False, gpu=False)).splitlines()
    for line in (
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "MemoryMax=512M",
        "WatchdogSec=30",
    ):
        assert line in lines
    assert [line for line in lines if "ReadWrite" in line or line.startswith("User=")] == []


def test_the_journal_is_in_memory_and_bounded() -> None:
    assert {"Storage=volatile", "RuntimeMaxUse=8M"} <= set(journald_conf("light").splitlines())


@pytest.mark.parametrize(
    ("uris", "wanted"),
    [(("0",), False), (("csi://0", "out.mp4"), False), (("0", "mqtt://host/t"), True), (("rtsp://c/1",), True)],
)
def test_a_network_is_open_only_where_one_is_needed(uris: tuple[str, ...], wanted: bool) -> None:
    assert needs_network(uris) is wanted
    unit = system_unit(options(network=needs_network(uris), gpu=False))
    assert ("PrivateNetwork=yes" in unit) is not wanted


def test_a_users_systemd_that_does_not_run_is_named_with_what_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(DeployError, match=r"none runs in .*: sudo loginctl enable-linger"):
        UserSystemd(Store(tmp_path / "app"), "light").is_active()


def test_nothing_is_started_again_and_again_without_a_release() -> None:
    """What a boot calls stands in the release: without one the unit is not tried."""
    unit = system_unit(options(network=False, gpu=False))
    assert "ConditionPathExists=/opt/edgex/light/current" in unit.splitlines()
    assert "/opt/edgex/light/current/agent.pyz exec /opt/edgex/light" in unit
    assert "ConditionPathExists=%h/.local/share/edgex/light/current" in user_unit(options(network=False, gpu=False))
