import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement

from edgex_devices.profile import Profile, System, all_profiles
from edgex_runtime.engines.registry import ENGINES

SHIPPED = all_profiles([])
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMES = [profile.name for profile in SHIPPED]
# For one engine on one Python and platform: the slowest took 29 s on two busy cores.
REGISTRY_S = 180


@pytest.fixture(params=SHIPPED, ids=NAMES)
def profile(request: pytest.FixtureRequest) -> Profile:
    shipped: Profile = request.param
    return shipped


def test_every_fact_has_a_source(profile: Profile) -> None:
    sources = [
        *profile.sources,
        *(system.source for system in profile.systems),
        *(trap.source for trap in profile.traps),
        *(reading.source for reading in profile.readings),
        *(engine.source for engine in profile.preferred if engine.origin == "vendor"),
    ]
    assert all(source.startswith("https://") for source in sources), sources
    if profile.memory_mb or profile.threads:
        assert profile.sources
    if profile.recognise.device_tree:
        assert profile.recognise.source.startswith("https://")


def test_engines_are_edgex_engines_and_extras_exist(profile: Profile) -> None:
    for engine in profile.preferred:
        assert engine.name in ENGINES
        assert engine.extra in PROJECT["optional-dependencies"]


def test_a_wheel_is_claimed_only_for_engines_that_can_be_chosen(profile: Profile) -> None:
    for system in profile.systems:
        on = profile.on(system.name)
        assert {engine.name for engine in on.engines} == set(system.wheels)
        assert bool(system.wheels) == system.runs_edgex


def test_a_claimed_wheel_suits_the_glibc_and_the_architecture(profile: Profile) -> None:
    for system in profile.systems:
        for wheel in system.wheels.values():
            assert wheel.tag in profile.on(system.name).platforms


@dataclass(frozen=True)
class Target:
    """A Python on a platform, for pip."""

    python: str
    platforms: tuple[str, ...]
    requirements: tuple[str, ...]


def _targets() -> list[Target]:
    """Each Python, platform and engine once: boards share them."""
    found: dict[Target, None] = {}
    for profile in SHIPPED:
        for system in profile.systems:
            for wheel in system.wheels.values():
                on = profile.on(system.name)
                found[Target(system.python, on.platforms, (*_base(system), f"{wheel.package}>={wheel.version}"))] = None
    return list(found)


def _base(system: System) -> tuple[str, ...]:
    """What every installation of edgex needs there, without extras."""
    lines = [Requirement(line) for line in PROJECT["dependencies"]]
    there = {"python_version": system.python}
    return tuple(f"{line.name}{line.specifier}" for line in lines if line.marker is None or line.marker.evaluate(there))


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", _targets(), ids=lambda target: f"{target.python}-{target.platforms[0]}-{target.requirements[-1]}"
)
def test_a_wheelhouse_resolves(target: Target, tmp_path: Path) -> None:
    """The registry has wheels for everything; pip reads their metadata and downloads none."""
    platforms = [word for name in target.platforms for word in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.python, *platforms]
    command += ["--target", str(tmp_path / "target"), "--report", str(tmp_path / "report.json"), *target.requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=REGISTRY_S)
    except subprocess.TimeoutExpired:
        pytest.fail(f"the registry has not answered within {REGISTRY_S} s")
    if "Temporary failure in name resolution" in done.stderr or "Network is unreachable" in done.stderr:
        pytest.skip("no registry within reach")
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / "report.json").read_text())
    names = {item["metadata"]["name"].lower().replace("_", "-") for item in report["install"]}
    assert {"numpy", "opencv-python-headless", "pillow", "click", "rich"} <= names
    assert all(item["download_info"]["url"].endswith(".whl") for item in report["install"])
