"""Where tunings are kept: a file of its own, so that a start where nothing was tuned imports nothing else for it."""

import os
from pathlib import Path


def tuned_folder() -> Path:
    """``edgex/tuned`` in the user's state folder (XDG_STATE_HOME, else ~/.local/state)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "edgex" / "tuned"
