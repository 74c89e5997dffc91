"""What makes measured times less certain than they look: other programs, and heat."""

import os

from edgex_devices.facts import Facts

# More runnable programs than this per core, besides ours, and times are theirs as much as ours.
_BUSY = 0.5


def busy(facts: Facts) -> list[str]:
    """What else was running before it began."""
    load = os.getloadavg()[0]
    if load <= _BUSY * facts.cpu.usable:
        return []
    return [f"{load:.1f} programs were running on {facts.cpu.usable} cores before it began: times are theirs too"]


def strain(before: Facts, after: Facts) -> list[str]:
    """What the measuring itself did to the machine."""
    remarks = []
    if (after.health.throttled or 0) & 0xF:
        remarks.append(
            f"the board was throttled at the end (throttled={after.health.throttled:#x}): cooled, it is faster"
        )
    if (after.health.throttle_count or 0) > (before.health.throttle_count or 0):
        remarks.append("heat slowed the cores down while it was measured")
    return remarks
