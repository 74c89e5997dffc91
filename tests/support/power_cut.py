"""When the power goes: the points of a deploy, in the order in which it comes to them."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cut:
    """So long after a step; at 0 s the agent is killed in the step itself, and the machine at once."""

    step: str
    after_s: float = 0.0

    def __str__(self) -> str:
        return self.step + (f"-{self.after_s:g}s" if self.after_s else "")


# Until the release is kept it is the old one that is served after the cut.
FORWARD = (
    Cut(step="copy-begins"),
    Cut(step="copy-begins", after_s=5),
    Cut(step="file-received"),
    Cut(step="files-linked"),
    Cut(step="manifest-written"),
    Cut(step="environment-made"),
    Cut(step="environment-made", after_s=15),
    Cut(step="environment-installed"),
    Cut(step="environment-complete"),
    Cut(step="proved"),
    Cut(step="installed"),
    Cut(step="before-the-switch"),
    Cut(step="link-made"),
    Cut(step="link-switched"),
    Cut(step="link-synced"),
    Cut(step="service-started"),
    Cut(step="service-started", after_s=2),
    Cut(step="frames-flow"),
)
KEPT = (Cut(step="kept"), Cut(step="pruned-releases"), Cut(step="pruned-environments"), Cut(step="pruned-files"))
BACK = (Cut(step="going-back"), Cut(step="link-went-back"))
ALL = (*FORWARD, *KEPT, *BACK)
# In the midst of the copy, of the installation and of the switch, and behind the commit.
SOME = (
    Cut(step="copy-begins", after_s=5),
    Cut(step="environment-made", after_s=15),
    Cut(step="link-switched"),
    Cut(step="kept"),
)
CHOSEN = ALL if os.environ.get("EDGEX_BOARD_CUTS") == "all" else SOME
