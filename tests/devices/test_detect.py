from dataclasses import replace
from pathlib import Path

import pytest

from edgex_devices import profile as profile_module
from edgex_devices.detect import detect
from edgex_devices.facts import Facts
from edgex_devices.profile import Profile, all_profiles

SHIPPED = all_profiles([])
# What the boards' own device trees say (Linux, and NVIDIA's L4T).
COMPATIBLE = {
    "raspberry-pi-zero-2-w": ("raspberrypi,model-zero-2-w", "brcm,bcm2837"),
    "raspberry-pi-3b-plus": ("raspberrypi,3-model-b-plus", "brcm,bcm2837"),
    "raspberry-pi-4": ("raspberrypi,4-model-b", "brcm,bcm2711"),
    "raspberry-pi-5": ("raspberrypi,5-model-b", "brcm,bcm2712"),
    "jetson-nano": ("nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210"),
    "jetson-xavier-nx": ("nvidia,p3509-0000+p3668-0000", "nvidia,tegra194"),
    "jetson-orin-nano": ("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"),
    "jetson-orin-nx": ("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000", "nvidia,tegra234"),
    "jetson-agx-orin": ("nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005", "nvidia,tegra234"),
    "coral-dev-board": ("google,imx8mq-phanbell", "fsl,imx8mq"),
    "generic-arm64": ("acme,board",),
}


def on(facts: Facts, *, machine: str = "aarch64", compatible: tuple[str, ...] = (), **there: object) -> Facts:
    return replace(
        facts,
        system=replace(facts.system, machine=machine),
        board=replace(facts.board, compatible=compatible),
        accelerators=replace(facts.accelerators, **there),  # type: ignore[arg-type]
    )


def name(profile: Profile | None) -> str:
    return profile.name if profile else ""


@pytest.mark.parametrize("board", COMPATIBLE)
def test_recognises_a_board_by_its_device_tree(pi5: Facts, board: str) -> None:
    assert name(detect(on(pi5, compatible=COMPATIBLE[board]), SHIPPED)) == board


@pytest.mark.parametrize(
    ("there", "board"),
    [
        ({}, "x86-64"),
        ({"intel_gpu": True}, "intel-igpu-npu"),
        ({"nvidia": ("NVIDIA T4, 550",)}, "desktop-cuda"),
    ],
)
def test_recognises_a_pc_by_what_is_beside_its_cpu(pi5: Facts, there: dict[str, object], board: str) -> None:
    pc = on(pi5, machine="x86_64", **there)
    assert name(detect(pc, SHIPPED)) == name(detect(pc, SHIPPED[::-1])) == board


def test_every_shipped_board_is_recognised_by_something(pi5: Facts) -> None:
    assert {profile.name for profile in SHIPPED} == {*COMPATIBLE, "x86-64", "intel-igpu-npu", "desktop-cuda"}


def test_takes_the_system_that_runs_there(pi5: Facts) -> None:
    trixie = replace(pi5, system=replace(pi5.system, os_codename="trixie"))
    found = detect(trixie, SHIPPED)
    assert found is not None
    assert (found.system.name, found.python) == ("trixie", "3.13")


def test_takes_the_system_of_that_python_where_the_name_says_nothing(pi5: Facts) -> None:
    facts = on(pi5, compatible=COMPATIBLE["generic-arm64"])
    facts = replace(facts, system=replace(facts.system, os_codename=""), python=replace(facts.python, version="3.12.3"))
    found = detect(facts, SHIPPED)
    assert found is not None
    assert found.system.name == "noble"


def test_an_unknown_architecture_is_no_board(pi5: Facts) -> None:
    assert detect(on(pi5, machine="riscv64"), SHIPPED) is None


def test_a_users_own_board_wins_over_one_of_ours_that_is_recognised_as_well(pi5: Facts, tmp_path: Path) -> None:
    ours = next(profile for profile in SHIPPED if profile.name == "raspberry-pi-5")
    text = (Path(profile_module.__file__).with_name("profiles") / f"{ours.name}.toml").read_text(encoding="utf-8")
    (tmp_path / "zoo.toml").write_text(text.replace(f'name = "{ours.name}"', 'name = "zoo"'), encoding="utf-8")
    assert name(detect(pi5, all_profiles([tmp_path]))) == "zoo"
