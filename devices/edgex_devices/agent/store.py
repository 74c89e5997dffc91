"""An app's folder on the board, and the one file that decides which release it serves: `state.json`.

    ROOT/allowed_signers      whose bundles are taken
    ROOT/blobs/SHA256         files as they came; .part while they come; releases are hard links to them
    ROOT/releases/ID/         a bundle's files; installed.json is written last, when the release has proved itself
    ROOT/releases/ID/agent.pyz  what starts and supervises this very release: signed as all of it, and switched with it
    ROOT/envs/KEY/            an environment, shared by releases with the same lock; complete is written last
    ROOT/current              → releases/ID, switched by one rename
    ROOT/state.json           what `current` has to be. A deploy commits by writing it.
    ROOT/lock                 held by whoever changes any of this

A process that dies between two of these may leave `current` on a release that `state.json` does not name: `recover`
puts it back. Whichever it is, the release is whole, for it was installed and proved before.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgex_devices.agent.config import AGENT
from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import DeployError

SCHEMA_VERSION = 1
INSTALLED = "installed.json"
COMPLETE = "complete"
_HISTORY = 20
_POLL_S = 0.2
Reach = Callable[[str], None]


class LockedError(DeployError):
    """Somebody else changes this app."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What became of one attempt."""

    at: str
    release: str
    outcome: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What an app's board serves.

    Attributes:
        current: The release that was kept last; None before the first.
        previous: The one before, to which `edgex deploy rollback` returns.
        history: The newest attempts, oldest first.
        schema: Version of this schema.
    """

    current: str | None = None
    previous: str | None = None
    history: tuple[Event, ...] = ()
    schema: int = SCHEMA_VERSION

    def noted(self, release: str, outcome: str, why: str = "") -> "State":
        """With one more attempt."""
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        event = Event(at=at, release=release, outcome=outcome, why=why)
        return replace(self, history=(*self.history, event)[-_HISTORY:])


class Store:
    """One app's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.signers = root / "allowed_signers"
        self.blobs = root / "blobs"
        self.releases = root / "releases"
        self.envs = root / "envs"
        self.current = root / "current"
        # What units and inits call.
        self.agent = self.current / AGENT
        self._state = root / "state.json"
        self._back = root / ".back"

    @contextmanager
    def lock(self, *, wait_s: float = 0.0) -> Iterator[None]:
        """Be the only one who changes anything; the system lets go when the process ends, however it ends.

        Raises:
            LockedError: If another deploy holds it for longer than `wait_s`.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + wait_s
        with (self.root / "lock").open("a+b") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        raise LockedError(
                            "another deploy is running on this board: wait until it has ended (`edgex deploy status`)"
                        ) from None
                    time.sleep(_POLL_S)
            yield

    def state(self) -> State:
        """What is served.

        Raises:
            DeployError: If the file is damaged, which no power cut does.
        """
        try:
            data: dict[str, Any] = json.loads(self._state.read_bytes())
            return State(**{**data, "history": tuple(Event(**event) for event in data["history"])})
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError, KeyError) as error:
            raise DeployError(f"{self._state}: it cannot be read ({error}): remove it, and deploy again") from error

    def write_state(self, state: State) -> None:
        """Decide what is served."""
        with atomic_write(self._state) as file:
            file.write(json.dumps(asdict(state), indent=1).encode() + b"\n")

    def release(self, name: str) -> Path:
        """A release's folder."""
        return self.releases / name

    def is_installed(self, name: str) -> bool:
        """Whether it is whole, and has proved itself here."""
        return (self.release(name) / INSTALLED).is_file()

    def linked(self) -> str | None:
        """The release that `current` names; None without one."""
        return _target(self.current)

    def prepare_back(self, name: str | None) -> None:
        """Make what `go_back` needs while there is room on the disk for it."""
        self._back.unlink(missing_ok=True)
        if name is not None:
            self._back.symlink_to(Path("releases") / name)

    def go_back(self, name: str | None, reach: Reach) -> None:
        """Return to a release for which `prepare_back` was called; this needs no room on the disk."""
        if name is None:
            self.current.unlink(missing_ok=True)
        else:
            self._back.replace(self.current)
        reach("link-went-back")
        sync(self.root)

    def switch(self, name: str, reach: Reach) -> None:
        """Let `current` name another release, by one rename."""
        new = self.root / ".new"
        new.unlink(missing_ok=True)
        new.symlink_to(Path("releases") / name)
        reach("link-made")
        new.replace(self.current)
        reach("link-switched")
        sync(self.root)
        reach("link-synced")

    def recover(self) -> bool:
        """Put `current` back on what was kept last, if a deploy was cut off; the caller holds the lock.

        Returns:
            Whether it was on something else.
        """
        for half_written in self.root.glob(".*.tmp"):
            half_written.unlink()
        kept = self.state().current
        if self.linked() == kept:
            return False
        if kept is None or _target(self._back) == kept:
            # What was prepared for this: it needs no room.
            self.go_back(kept, lambda _: None)
        else:
            self.switch(kept, lambda _: None)
        return True

    def prune(self, reach: Reach) -> None:
        """Remove releases that are neither the current nor the previous one, and what only they needed."""
        state = self.state()
        kept = {state.current, state.previous, self.linked()}
        for folder in _folders(self.releases):
            if folder.name not in kept:
                # First what calls it whole: a half-removed release must not be taken for one.
                (folder / INSTALLED).unlink(missing_ok=True)
                shutil.rmtree(folder)
        reach("pruned-releases")
        whole = [folder for folder in _folders(self.releases) if self.is_installed(folder.name)]
        needed = {_env_of(folder) for folder in whole}
        for folder in _folders(self.envs):
            # A damaged note does not say which it needs: then all are kept.
            if None not in needed and folder.name not in needed:
                (folder / COMPLETE).unlink(missing_ok=True)
                shutil.rmtree(folder)
        reach("pruned-environments")
        for blob in self.blobs.iterdir():
            if blob.stat().st_nlink == 1:
                blob.unlink()
        reach("pruned-files")


def _target(link: Path) -> str | None:
    try:
        return link.readlink().name
    except FileNotFoundError:
        return None


def _env_of(release: Path) -> str | None:
    try:
        return str(json.loads((release / INSTALLED).read_bytes())["env"])
    except (ValueError, KeyError, TypeError):
        return None


def sync(path: Path) -> None:
    """Let a file's bytes, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
