"""Which of the known boards a machine is."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from edgex_devices.facts import Facts
from edgex_devices.profile import Accelerator, Profile
from edgex_runtime.engines.engine import Device

# What an engine's device has to be, beside the CPU.
ACCELERATOR_OF: dict[tuple[str, Device], Accelerator] = {
    ("onnxruntime", "gpu"): "nvidia",
    ("openvino", "gpu"): "intel-gpu",
    ("openvino", "npu"): "intel-npu",
}


def detect(facts: Facts, profiles: Iterable[Profile]) -> Profile | None:
    """The board that a machine is, on the system that it runs; None if its architecture is none that is known.

    A name in the device tree counts for more than one in the DMI, that for more than an accelerator, and that for more
    than the architecture alone.
    """
    scored = [(score(facts, profile), profile) for profile in profiles]
    best, profile = max(scored, key=lambda pair: pair[0], default=(0, None))
    if not best or profile is None:
        return None
    version = ".".join(map(str, facts.python_version))
    by_name = [system.name for system in profile.systems if system.name == facts.system.os_codename]
    by_python = [system.name for system in profile.systems if system.python == version]
    fitting = (*by_name, *by_python)
    return profile.on(fitting[0]) if fitting else profile


def score(facts: Facts, profile: Profile) -> int:
    """How much of a machine a profile recognises; 0 if something that it asks for is not there."""
    wanted = profile.recognise
    if facts.system.machine != wanted.machine:
        return 0
    total = 1
    if wanted.device_tree:
        if not _matches(facts.board.compatible, wanted.device_tree):
            return 0
        total += 8
    if wanted.dmi:
        if not _matches((f"{facts.board.vendor} {facts.board.product}",), wanted.dmi):
            return 0
        total += 4
    if wanted.accelerator is not None:
        if wanted.accelerator not in accelerators(facts):
            return 0
        total += 2
    return total


def accelerators(facts: Facts) -> frozenset[Accelerator]:
    """What there is beside the CPU."""
    there = facts.accelerators
    found: dict[Accelerator, bool] = {
        "nvidia": bool(there.nvidia or there.nvidia_module or there.jetson),
        "intel-gpu": there.intel_gpu,
        "intel-npu": there.intel_npu,
        "edge-tpu": bool(there.edge_tpu),
    }
    return frozenset(name for name, is_there in found.items() if is_there)


def _matches(names: Iterable[str], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
