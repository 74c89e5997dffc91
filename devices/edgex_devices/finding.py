"""One thing that the doctor found: what, why it matters, and the command that mends it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Severity = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding.

    Attributes:
        check: What was looked at: ``camera``, ``clock``.
        severity: ``ok`` is as it should be · ``note`` is worth knowing · ``warning`` costs speed, frames or trust ·
            ``error`` keeps edgex from running.
        what: Was found.
        why: It matters; empty with ``ok``.
        mend: The command, or what to do; empty where there is nothing to mend.
    """

    check: str
    severity: Severity
    what: str
    why: str = ""
    mend: str = ""


def worst(findings: Iterable[Finding]) -> Severity:
    """The worst severity; ``ok`` of none.

    >>> worst([Finding(check="disk", severity="note", what="…"), Finding(check="clock", severity="ok", what="…")])
    'note'
    """
    order = get_args(Severity)
    return max((finding.severity for finding in findings), key=order.index, default="ok")
