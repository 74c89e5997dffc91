"""A deploy on the board, from a signed list of files to a release that is kept, or to the one before (docs/adr/0004).

Each step is reached by name. Whoever is killed between two of them leaves the board on the old or on the new release,
whole: tests/board/test_power_cut.py kills it at every one.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgex_devices.agent.config import AGENT, CONFIG, AppConfig
from edgex_devices.agent.health import HEALTH_FILE, Figures, raised_alarms, watch
from edgex_devices.agent.install import install
from edgex_devices.agent.integrity import damage
from edgex_devices.agent.launch import forget_starts
from edgex_devices.agent.manifest import MANIFEST, SIGNATURE, BundledFile, Manifest
from edgex_devices.agent.receive import Read, lay_out, mend, missing, receive
from edgex_devices.agent.room import LITTLE_BYTES, check_room, explain, is_full, wanted_bytes
from edgex_devices.agent.service import Process, Systemd
from edgex_devices.agent.store import Reach, Store
from edgex_devices.agent.wire import kind_of
from edgex_runtime.errors import DeployError, EdgexError

# Of damaged files; the rest are counted.
_NAMED = 3
Ask = Callable[[list[tuple[BundledFile, int]]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a deploy.

    Attributes:
        outcome: ``unchanged``, ``deployed``, ``refused`` (nothing was switched), ``rolled back``, or ``would deploy``.
        release: What was to be served.
        serving: What is served now; None for nothing.
        why: Of a refusal or a roll-back; and what was, or is to be, repaired.
        kind: The class of the error.
        received_bytes: What was copied.
        figures: What the release showed in its window.
    """

    outcome: str
    release: str
    serving: str | None
    why: str = ""
    kind: str = ""
    received_bytes: int = 0
    figures: dict[str, Any] = field(default_factory=dict)


class Transaction:
    """One deploy of one app; the caller holds the store's lock.

    Args:
        store: The app's folder.
        service: What runs it.
        as_nobody: Whether the proof runs without this process's rights.
        reach: Told each step.
    """

    def __init__(self, store: Store, service: Systemd | Process, *, as_nobody: bool, reach: Reach) -> None:
        self._store = store
        self._service = service
        self._as_nobody = as_nobody
        self._reach = reach
        self._wanted = LITTLE_BYTES

    def deploy(self, manifest: Manifest, signature: bytes, ask: Ask, read: Read) -> Result:
        """Bring a verified bundle to life, or leave everything as it is.

        Args:
            manifest: Verified.
            signature: Its own.
            ask: Asks the host for files.
            read: Gives their bytes, in that order.

        Raises:
            BundleError: If nothing in it could start it.
        """
        store, name = self._store, manifest.release
        manifest.file(AGENT)
        # Before minutes go into the copy: a service manager that is not there says so.
        self._service.is_active()
        self._recover()
        kept = store.state().current
        hurt = self._damage(kept)
        if not hurt and self._is_served(name):
            return Result(outcome="unchanged", release=name, serving=name)
        received, remarks = 0, []
        if hurt and kept != name:
            remarks.append(f"the release before is damaged: {_not_what_it_was(hurt)}")
        try:
            if kept != name:
                hurt = self._damage(name)
            if hurt:
                remarks.append(f"repaired: {_not_what_it_was(hurt)}")
            if hurt or not store.is_installed(name):
                received = self._fetch(manifest, signature, ask, read)
                release = store.release(name)
                config = AppConfig.from_json((release / CONFIG).read_bytes())
                install(store, release, config, as_nobody=self._as_nobody, reach=self._reach)
        except (EdgexError, OSError) as error:
            return self._refused(name, error, received)
        result = replace(self._try(name), received_bytes=received)
        return replace(result, why="; ".join([*filter(None, [result.why]), *remarks]))

    def roll_back(self) -> Result:
        """Serve the release before, watched like a new one.

        Raises:
            DeployError: If there is none, or it is not what was installed any more.
        """
        self._recover()
        previous = self._store.state().previous
        if previous is None or not self._store.is_installed(previous):
            raise DeployError("there is no release before this one on the board: deploy its bundle instead")
        if hurt := self._damage(previous):
            raise DeployError(f"the release before is damaged: {_not_what_it_was(hurt)}: deploy its bundle again")
        return self._try(previous)

    def _damage(self, name: str | None) -> list[str]:
        return damage(self._store, name) if name is not None and self._store.is_installed(name) else []

    def _recover(self) -> None:
        store = self._store
        if store.recover() and (kept := store.state().current):
            self._start(store.release(kept))
        self._reach("recovered")

    def _is_served(self, name: str) -> bool:
        return self._store.state().current == name and self._store.is_installed(name) and self._service.is_active()

    def _fetch(self, manifest: Manifest, signature: bytes, ask: Ask, read: Read) -> int:
        store = self._store
        store.blobs.mkdir(exist_ok=True)
        needed = missing(store, manifest)
        self._wanted = wanted_bytes(store, manifest, needed)
        check_room(store, self._wanted)
        self._reach("copy-begins")
        ask(needed)
        for file, here in needed:
            receive(store, file, here, read, self._reach)
        bring = mend if store.is_installed(manifest.release) else lay_out
        bring(store, manifest, signature, (MANIFEST, SIGNATURE), self._reach)
        return sum(file.size - here for file, here in needed)

    def _try(self, name: str) -> Result:
        """Switch, watch, and keep or return."""
        store, before = self._store, self._store.state()
        config = AppConfig.from_json((store.release(name) / CONFIG).read_bytes())
        quiet = tuple(alarm for alarm in config.alarms if not raised_alarms((alarm,)))
        try:
            store.prepare_back(before.current)
        except OSError as error:
            return self._refused(name, error, 0)
        self._reach("before-the-switch")
        try:
            store.switch(name, self._reach)
            since_ns = time.monotonic_ns()
            self._start(store.release(name))
            self._reach("service-started")
            file = self._service.run_folder / HEALTH_FILE
            figures = watch(file, config.health, since_ns, self._service.is_active, quiet)
            self._reach("frames-flow")
            previous = before.current if before.current != name else before.previous
            store.write_state(replace(before.noted(name, "deployed"), current=name, previous=previous))
        except (EdgexError, OSError) as error:
            return self._went_back(name, error)
        self._reach("kept")
        return self._kept(name, figures)

    def _start(self, release: Path) -> None:
        forget_starts(self._service.run_folder)
        self._service.start(release)

    def _kept(self, name: str, figures: Figures) -> Result:
        try:
            self._store.prune(self._reach)
        except OSError as error:
            # What could not be removed is removed next time; the release is kept all the same.
            return Result(outcome="deployed", release=name, serving=name, why=f"not pruned: {error}")
        return Result(outcome="deployed", release=name, serving=name, figures=asdict(figures))

    def _went_back(self, name: str, error: Exception) -> Result:
        store, kept = self._store, self._store.state().current
        why = explain(error, store.root)
        self._reach("going-back")
        store.go_back(kept, self._reach)
        if kept is None:
            self._service.stop()
        else:
            self._start(store.release(kept))
        self._reach("service-went-back")
        self._make_room(error)
        self._note(name, "rolled back", str(why))
        return _failed("rolled back", name, kept, why)

    def _refused(self, name: str, error: Exception, received: int) -> Result:
        why = explain(error, self._store.root, self._wanted)
        self._make_room(error)
        self._note(name, "refused", str(why))
        return replace(_failed("refused", name, self._store.state().current, why), received_bytes=received)

    def _make_room(self, error: Exception) -> None:
        """Leave nothing of a deploy behind that the disk had no room for: the app that runs needs it."""
        if is_full(error):
            with suppress(OSError):
                self._store.prune(lambda _: None)

    def _note(self, name: str, outcome: str, why: str) -> None:
        try:
            self._store.write_state(self._store.state().noted(name, outcome, why))
        except OSError:
            # A full disk keeps its history as it was: what the host is told says all.
            return


def _failed(outcome: str, name: str, serving: str | None, error: Exception) -> Result:
    return Result(outcome=outcome, release=name, serving=serving, why=str(error), kind=kind_of(error))


def _not_what_it_was(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return (
        f"{', '.join(paths[:_NAMED])}{more} on the board's disk {'are' if paths[1:] else 'is'} not what was installed"
    )


def plan(store: Store, manifest: Manifest) -> Result:
    """What `deploy` would do, changing nothing."""
    name, kept = manifest.release, store.state().current
    hurt = damage(store, name) if store.is_installed(name) else []
    if kept == name and not hurt:
        return Result(outcome="unchanged", release=name, serving=kept)
    needed = missing(store, manifest) if hurt or not store.is_installed(name) else []
    received = sum(file.size - here for file, here in needed)
    why = f"to repair: {_not_what_it_was(hurt)}" if hurt else ""
    return Result(outcome="would deploy", release=name, serving=kept, received_bytes=received, why=why)
