"""Everything that can be said of a machine: its facts, which board it is, what its engines did, and what to mend."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgex_devices.checks import engines, hardware, health, software
from edgex_devices.detect import detect
from edgex_devices.engine_check import EngineRun, parse_runs
from edgex_devices.facts import Facts
from edgex_devices.finding import Finding
from edgex_devices.host import Host, probe
from edgex_devices.profile import Profile, all_profiles

Check = Callable[[Facts, Profile | None], Iterator[Finding]]
# In the order in which a person would ask.
CHECKS: tuple[Check, ...] = (
    software.check_board,
    software.check_python,
    software.check_wheels,
    software.check_packages,
    software.check_pages,
    hardware.check_cpu,
    hardware.check_cpu_limits,
    hardware.check_memory,
    hardware.check_disks,
    hardware.check_cameras,
    hardware.check_accelerators,
    health.check_throttling,
    health.check_temperature,
    health.check_clock,
)
_ENGINES_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found.

    Attributes:
        host: Which machine.
        profile: The board's name with its system, ``raspberry-pi-5:bookworm``; None if none is known.
        facts: All of them.
        runs: Of the engines; empty where they could not be tried.
        findings: In the order of `CHECKS`, then the engines'.
    """

    host: str
    profile: str | None
    facts: Facts
    runs: tuple[EngineRun, ...]
    findings: tuple[Finding, ...]


def examine(host: Host, folders: Sequence[Path] | None = None) -> Examination:
    """Probe a machine, run its engines, and judge.

    Args:
        host: This machine, or another one.
        folders: Of profiles, as for `all_profiles`.

    Raises:
        DeviceUnavailableError: If the host cannot be reached.
        BadInputError: If it has no such Python, or a profile's folder is not there.
        SpecError: If a profile is malformed.
    """
    profiles = all_profiles(folders)
    facts, now_s = probe(host)
    profile = detect(facts, profiles)
    findings = [finding for check in CHECKS for finding in check(facts, profile)]
    if host.name is not None:
        findings += health.check_offset(facts, now_s)
    runs, unchecked = run_engines(host, facts)
    findings += [unchecked] if unchecked else engines.check_runs(facts, runs)
    name = f"{profile.name}:{profile.system.name}" if profile else None
    return Examination(host=host.title, profile=name, facts=facts, runs=runs, findings=tuple(findings))


def run_engines(host: Host, facts: Facts) -> tuple[tuple[EngineRun, ...], Finding | None]:
    """Run the tiny models where edgex is installed; else a finding that says why not."""
    mend = "install edgex there, and name its Python: edgex doctor --host HOST --python ~/edgex/bin/python"
    if host.name is not None and "edgex" not in facts.packages:
        return (), engines.not_checked(f"edgex is not installed for {facts.python.executable}", mend)
    code, stdout, stderr = host.run("-m", "edgex_devices.engine_check", timeout_s=_ENGINES_TIMEOUT_S)
    if code:
        lines = stderr.strip().splitlines() or [f"exit code {code}"]
        return (), engines.not_checked(lines[-1], mend)
    return parse_runs(stdout, where=host.title), None
