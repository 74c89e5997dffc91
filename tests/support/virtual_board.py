"""A virtual machine that edgex deploys to: bundle, deploy, cut the power, and look whether all is whole."""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import debian_image
import machine
import pytest
from machine import Machine
from power_cut import BACK, KEPT, Cut
from stand_in_app import rewrite, set_model, stand_in

from edgex_devices.agent.archive import write_archive
from edgex_devices.agent.config import CONFIG, REQUIREMENTS, AppConfig
from edgex_devices.agent.manifest import MANIFEST, SIGNATURE, Manifest
from edgex_devices.bundle import SUFFIX, seal
from edgex_devices.deploy import DeployOptions, HostResult, deploy
from edgex_devices.keys import SigningKey
from edgex_devices.transport import Board, Ssh

APP = "light"
ROOT = f"/opt/edgex/{APP}"
UNIT = f"edgex-{APP}.service"
# An emulated processor computes some hundred times slower, and shares its host with whatever else runs there.
SERVICE_S = 900
PATIENT = ("--window", "3", "--start", "900", "--max-age-ms", "30000", "--watchdog", "120")
MODEL_BYTES = 1 << 20
# Long enough to be cut in two.
LONG_BYTES = 48 << 20
CAMERA = "/dev/video0?size=320x180&fps=5&format=YUYV&timeout={}s"


@dataclass(frozen=True, kw_only=True)
class Release:
    """A bundle's folder, and its name on the board."""

    folder: Path
    name: str


class VirtualBoard:
    """A machine, and the bundles that it gets.

    Args:
        machine: It runs.
        folder: For bundles.
        model: What they hold.
        key: Who signs them.
        is_quick: Whether the app is the stand-in, which a slow board starts in a second.
    """

    def __init__(self, machine: Machine, folder: Path, model: Path, key: SigningKey, *, is_quick: bool) -> None:
        self.machine, self._folder, self._model, self._key, self._is_quick = machine, folder, model, key, is_quick
        self._serves: str | None = None
        self._is_deployed = False
        self._answers: dict[str, str] = {}
        self._first: Path | None = None
        self._count = 0

    def edgex(self, *words: str | Path) -> str:
        """A command as a user types it; returns its stdout."""
        places = os.pathsep.join(filter(None, sys.path))
        done = subprocess.run(
            [sys.executable, "-m", "edgex", *words],
            env={**os.environ, "PYTHONPATH": places},
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,
        )
        assert done.returncode == 0, f"edgex {' '.join(map(str, words))}: {done.returncode}: {done.stderr}"
        return done.stdout

    def first(self) -> Path:
        """By `edgex bundle`, with the registry's wheels; made once."""
        if self._first is None:
            made = self.edgex(
                *("bundle", self._model, "--board", "generic-arm64:bookworm", "--source", CAMERA.format(10), *PATIENT),
                *("--key", self._key.private, "--out", self._folder / "first", "--json"),
            )
            self._first = Path(json.loads(made)["folder"])
            if self._is_quick:
                stand_in(self._first)
                answer = set_model(self._first, 0, MODEL_BYTES)
                self._answers[self._seal(self._first)] = answer
        return self._first

    def next(self, cut: Cut) -> Release:
        """Another release, with what makes a deploy come to the step of the cut."""
        first = self.first()
        self._count += 1
        folder = self._folder / f"next-{self._count}" / first.name
        folder.parent.mkdir()
        # Links: what is changed below has to be another file.
        shutil.copytree(first, folder, copy_function=os.link)
        config = AppConfig.from_json((folder / CONFIG).read_bytes())
        health = replace(config.health, max_age_ms=0.001) if cut in BACK else config.health
        source = CAMERA.format(10 + self._count)
        rewrite(folder / CONFIG, replace(config, source=source, health=health).to_json())
        if cut.step.startswith("environment"):
            lock = (folder / REQUIREMENTS).read_bytes()
            rewrite(folder / REQUIREMENTS, lock + f"# another environment: {self._count}\n".encode())
        size = LONG_BYTES if cut.step == "copy-begins" else MODEL_BYTES
        if not self._is_quick:
            (folder / "filler.bin").write_bytes(random.Random(self._count).randbytes(size))
            return Release(folder=folder, name=self._seal(folder))
        answer = set_model(folder, self._count, size)
        release = Release(folder=folder, name=self._seal(folder))
        self._answers[release.name] = answer
        return release

    def _seal(self, folder: Path) -> str:
        board = Manifest.from_json((folder / MANIFEST).read_bytes()).board
        for name in (MANIFEST, SIGNATURE):
            (folder / name).unlink()
        return seal(folder, self._key, app=APP, board=board).release

    def deploy(self, folder: Path) -> dict[str, Any]:
        """By `edgex deploy`, of an archive."""
        archive = folder.with_name(folder.name + SUFFIX)
        write_archive(archive, folder)
        said = self.edgex(
            *("deploy", self.machine.name, "--bundle", archive, "--ssh-config", self.machine.config),
            *("--key", self._key.private, "--retries", "0", "--json"),
        )
        result: dict[str, Any] = json.loads(said)
        assert result["outcome"] == "deployed", result["why"]
        self._serves, self._is_deployed = result["serving"], True
        return result

    def deploy_until(self, folder: Path, cut: Cut) -> HostResult:
        """Deploy, and cut the power on the way."""
        timers: list[threading.Timer] = []

        def on_step(_: str, step: str) -> None:
            if step == cut.step and not timers:
                timers.append(threading.Timer(cut.after_s, self.machine.cut))
                timers[0].start()

        manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
        ssh = Ssh(config=self.machine.config)
        options = DeployOptions(ssh=ssh, retries=0, die_at="" if cut.after_s else cut.step)
        board = Board(name=self.machine.name)
        (result,) = deploy([board], folder, manifest, self._key.public, options, on_step)
        for timer in timers:
            timer.join()
        return result

    def serving(self) -> str:
        """What the board serves; on its first day the first release, deployed to a bare Debian."""
        if not self.machine.is_on:
            tell("boot", self.machine.boot())
        if not self._is_deployed:
            started = time.monotonic()
            result = self.deploy(self.first())
            tell(f"first deploy: {result['figures']}", time.monotonic() - started)
        if self._serves is None:
            self.wait_until_live()
            self._serves = self.status()["serving"]
        assert self._serves is not None
        return self._serves

    def survive(self, cut: Cut) -> None:
        """A deploy that is cut off; then the board serves one of the two, whole, and takes the next deploy."""
        old, release = self.serving(), self.next(cut)
        seconds = [time.monotonic()]
        self._serves = None
        assert self.deploy_until(release.folder, cut).outcome == "unreachable"
        seconds.append(time.monotonic())
        self.machine.boot()
        seconds.append(time.monotonic())
        self.wait_until_live()
        seen, is_kept = self.look(), cut in KEPT
        assert (seen["serving"], seen["kept"]) == ((release.name, release.name) if is_kept else (old, old))
        assert (seen["damaged"], seen["damaged in the environment"]) == ([], [])
        assert seen["proof"]["same"]
        assert seen["health"]["label"] == self._answers.get(seen["serving"], seen["health"]["label"])
        seconds.append(time.monotonic())
        following = release if not is_kept and cut not in BACK else self.next(KEPT[0])
        assert self.deploy(following.folder)["serving"] == following.name
        seconds.append(time.monotonic())
        parts = [later - earlier for earlier, later in itertools.pairwise(seconds)]
        tell("{}: {:.0f} s to the cut, {:.0f} boot, {:.0f} look, {:.0f} deploy".format(cut, *parts), sum(parts))

    def status(self) -> dict[str, Any]:
        """By `edgex deploy status`."""
        words = ("deploy", "status", self.machine.name, "--app", APP, "--ssh-config", self.machine.config, "--json")
        answer: dict[str, Any] = json.loads(self.edgex(*words))
        return answer

    def look(self) -> dict[str, Any]:
        """What stands on the board, each byte of it held to what was signed; the release proves itself once more."""
        look = Path(__file__).with_name("look_at_board.py").read_text()
        found: dict[str, Any] = json.loads(self.machine(f"sudo python3 -I - {ROOT} <<'EOF'\n{look}\nEOF"))
        return found

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.machine(f"systemctl show -P {name} {UNIT}").strip()

    def wait_until_live(self) -> None:
        """Wait for frames; whoever waits in vain reads why."""
        wait = f"until systemctl show -P StatusText {UNIT} | grep -q ^LIVE; do sleep 3; done"
        self.machine(f"timeout {SERVICE_S} sh -c '{wait}' || {{ systemctl status -n 20 {UNIT} >&2; exit 1; }}")


@contextmanager
def open_board(folder: Path, model: Path, key: SigningKey, *, is_quick: bool) -> Iterator[VirtualBoard]:
    """A new board, switched off; it is gone afterwards."""
    absent = [*machine.missing(), *debian_image.missing()]
    if os.geteuid() != 0 or absent:
        pytest.skip(f"wants root, and apt install {machine.PACKAGES} (not here: {', '.join(absent) or 'root'})")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "id"], check=True)
    image = debian_image.make_image(folder, (folder / "id.pub").read_text().strip())
    running = machine.Machine(image, folder, folder / "id")
    try:
        yield VirtualBoard(running, folder / "bundles", model, key, is_quick=is_quick)
    finally:
        running.close()
        image.disk.unlink()


def tell(what: str, seconds: float) -> None:
    """For whoever runs this with `-s`."""
    print(f"\n{seconds:7.1f} s  {what}", flush=True)
