"""A signing key, a folder that is a small bundle, and (for what goes over SSH) a real sshd on loopback."""

import getpass
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_wheelhouse import write_wheelhouse

from edgex_devices.agent.archive import digest, write_archive
from edgex_devices.agent.config import CONFIG, AppConfig, Health
from edgex_devices.agent.health import read_health
from edgex_devices.agent.manifest import MANIFEST, SIGNATURE, BundledFile, Manifest
from edgex_devices.agent.service import Process
from edgex_devices.agent.signature import sign, signer_line
from edgex_devices.agent.store import Store
from edgex_devices.bundle import SUFFIX, Bundle, BundleOptions, make_bundle, seal
from edgex_devices.deploy import DeployOptions, HostResult, deploy
from edgex_devices.keys import SigningKey, new_key
from edgex_devices.profile import Profile, load_profile
from edgex_devices.ssh import Ssh
from edgex_devices.transport import Board
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.selftest import record_golden
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("keys") / "signing-key", comment="test")


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("keys") / "other-key", comment="somebody else")


@pytest.fixture(scope="session")
def signers(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    path = tmp_path_factory.mktemp("signers") / "allowed_signers"
    path.write_text(signer_line(key.public))
    return path


def write_folder(folder: Path, files: dict[str, bytes], key: SigningKey) -> Path:
    """A signed bundle's folder with any files."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    entries = []
    for name in sorted(files):
        size, sha256 = digest(folder / name)
        entries.append(BundledFile(path=name, size=size, sha256=sha256))
    text = Manifest(app="flowers", board="test", edgex="0", files=tuple(entries)).to_json()
    (folder / MANIFEST).write_bytes(text)
    (folder / SIGNATURE).write_bytes(sign(text, key.private))
    return folder


@pytest.fixture
def bundle_folder(tmp_path: Path, key: SigningKey) -> Path:
    files = {"config.json": b"{}\n", "model/a.onnx": b"weights" * 99, "wheelhouse/empty": b""}
    return write_folder(tmp_path / "bundle", files, key)


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    return write_folder


SIDE = 16
LABELS = ("dark", "light", "other")


def write_model(path: Path, *, seed: int = 7) -> Path:
    """A small real ONNX classifier with its contract and its golden samples."""
    rng = np.random.default_rng(seed)
    weights = {
        "scale": np.float32(1 / 64),
        "linear": rng.normal(size=(3, len(LABELS))).astype(np.float32) * 4,
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["pooled"], keepdims=0, axes=[1, 2]),
        helper.make_node("MatMul", ["pooled", "linear"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "light",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    spec = ModelSpec(
        name="light",
        labels=LABELS,
        input=InputSpec(height=SIDE, width=SIDE),
        resize=Resize(mode="stretch"),
        normalise=Normalise(mean=(0.0, 0.0, 0.0), std=(64.0, 64.0, 64.0)),
    )
    engine = open_engine(path, EngineOptions())
    write_spec(path, replace(spec, golden=record_golden(engine, spec)))
    engine.close()
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "light.onnx")


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """This machine, as a board."""
    path = tmp_path_factory.mktemp("profiles") / "loopback.toml"
    python = ".".join(map(str, sys.version_info[:2]))
    path.write_text(
        f"""schema = 1
name = "loopback"
title = "this machine"
arch = "{platform.machine()}"
threads = 1
memory_mb = [1024]
camera = "test://shapes?size=64x48&fps=20"
[recognise]
machine = "{platform.machine()}"
[[systems]]
name = "here"
title = "what runs here"
python = "{python}"
glibc = "2.31"
checked = "2026-11-24"
wheels.onnxruntime = {{ package = "onnxruntime", version = "1.20.0", tag = "manylinux_2_28" }}
[[preferred]]
name = "onnxruntime"
extra = "onnx"
why = "the tests have it"
"""
    )
    return load_profile(str(path))


@pytest.fixture(scope="session")
def board_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test's own environment, as a board's interpreter that needs nothing of whoever calls it."""
    path = tmp_path_factory.mktemp("python") / "python"
    places = ":".join(place for place in sys.path if place)
    path.write_text(f'#!/bin/sh\nPYTHONPATH={places} OMP_NUM_THREADS=1 exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


# Stands in for edgex in a board's environment where a test is about the deploy and not about the model: says that the
# predictions are the same, and writes what the watchdog writes.
STAND_IN = """#!{python} -IS
import json, os, sys, time
if "edgex_devices.proof" in sys.argv:
    print(json.dumps({{"same": True}}))
    sys.exit()
path = next(word for word in sys.argv if word.startswith("watchdog://")).removeprefix("watchdog://")
record = {{"schema": 1, "pid": os.getpid(), "started_ns": time.monotonic_ns(), "frames": 0, "label": sys.argv[5]}}
while record["frames"] < (10 if sys.argv[5] == "hang" else 1e9):
    age_ms = 1e6 if sys.argv[5] == "stale" else 1.0
    record.update(frames=record["frames"] + 1, at_ns=time.monotonic_ns(), state="LIVE", age_ms=age_ms)
    with open(path + ".tmp", "w") as file:
        file.write(json.dumps(record))
    os.replace(path + ".tmp", path)
    time.sleep(0.02)
time.sleep(3600)
"""


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stand-in") / "python"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def with_wheels(stand_in: Path) -> Callable[[Path], None]:
    """Gives a bundle a small wheelhouse: Python's own pip, and a wheel in which edgex is the stand-in."""
    live = f"import sys\nsys.argv[1:1] = ['-m', 'edgex']\n{stand_in.read_text()}"
    return lambda folder: write_wheelhouse(folder, live)


PATIENT = Health(start_s=20, window_s=0.5, max_age_ms=1500, watchdog_s=10)


class Bundler:
    """Makes bundles of the app `light` for this machine; `change` may alter the folder before it is signed."""

    def __init__(self, folder: Path, model: Path, profile: Profile, python: Path, key: SigningKey) -> None:
        self._folder, self._model, self._profile, self._python, self._key = folder, model, profile, python, key
        # One is made, with an engine and all; those that differ from it in their config are copies of it.
        self._first: dict[Path, Bundle] = {}

    def __call__(
        self,
        name: str,
        *,
        source: str | None = None,
        health: Health = PATIENT,
        change: Callable[[Path], object] | None = None,
        model: Path | None = None,
        key: SigningKey | None = None,
    ) -> Path:
        first = self._first_of(model or self._model)
        folder = self._folder / name / first.folder.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(first.folder, folder)
        seed = zlib.crc32(name.encode()) % 1000
        source = source or f"test://shapes?size=64x48&fps=20&seed={seed}"
        config = AppConfig.from_json((folder / CONFIG).read_bytes())
        (folder / CONFIG).write_bytes(replace(config, source=source, health=health).to_json())
        if change is not None:
            change(folder)
        seal(folder, key or self._key, app=first.manifest.app, board=first.manifest.board)
        write_archive(folder.with_name(folder.name + SUFFIX), folder)
        return folder

    def _first_of(self, model: Path) -> Bundle:
        if model not in self._first:
            options = BundleOptions(model=model, profile=self._profile, python_on_board=str(self._python))
            folder = self._folder / f"first-{len(self._first)}"
            self._first[model] = make_bundle(options, self._key, folder)
        return self._first[model]


@pytest.fixture(scope="session")
def make(
    tmp_path_factory: pytest.TempPathFactory, model: Path, profile: Profile, board_python: Path, key: SigningKey
) -> Bundler:
    return Bundler(tmp_path_factory.mktemp("bundles"), model, profile, board_python, key)


@pytest.fixture(scope="session")
def make_light(
    tmp_path_factory: pytest.TempPathFactory, model: Path, profile: Profile, stand_in: Path, key: SigningKey
) -> Bundler:
    """Bundles whose environment on the board is the stand-in."""
    return Bundler(tmp_path_factory.mktemp("light-bundles"), model, profile, stand_in, key)


@dataclass(frozen=True)
class Sshd:
    """A real sshd, and a user's ssh configuration that reaches it as any host whose name begins with `board`."""

    config: Path
    port: int


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        pytest.skip("sshd is not installed: apt install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    if os.geteuid() == 0:
        # Where a privileged sshd locks itself in; Debian's own service makes it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/id.pub\n"
        "UsePAM no\nStrictModes no\nPidFile none\nMaxStartups 100\nUseDNS no\n"
    )
    (folder / "config").write_text(
        f"Host board*\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {folder}/id\n"
        " IdentitiesOnly yes\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        wait_for_port(port, process, folder / "log")
        yield Sshd(config=folder / "config", port=port)
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError(f"sshd does not listen: {log.read_text()}")


class BoardFolder:
    """A board that is a folder: what it serves, read from its files."""

    def __init__(self, root: Path, name: str = "board") -> None:
        self.root = root
        self.store = Store(root)
        self.board = Board(name=name, service="process", root=str(root), python=sys.executable)
        self.service = Process(self.store, "light")

    @property
    def serving(self) -> str | None:
        return self.store.linked()

    def stop(self) -> None:
        self.service.stop()

    def health(self) -> dict[str, Any]:
        record = read_health(self.root / "run" / "health.json")
        assert record is not None
        return record


@pytest.fixture
def make_board(tmp_path: Path) -> Iterator[Callable[..., BoardFolder]]:
    made = []

    def make_one(name: str = "board", root: Path | None = None) -> BoardFolder:
        made.append(BoardFolder(root or tmp_path / "boards" / name, name))
        return made[-1]

    yield make_one
    for board in made:
        board.stop()


@pytest.fixture
def board(make_board: Callable[..., BoardFolder]) -> BoardFolder:
    return make_board()


class Deployer:
    """`edgex_devices.deploy`, for one board over the real ssh."""

    def __init__(self, sshd: Sshd, key: SigningKey) -> None:
        self.options = DeployOptions(ssh=Ssh(config=sshd.config), retries=0)
        self.key = key

    def __call__(self, board: BoardFolder, folder: Path, **changes: Any) -> HostResult:
        manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
        public = changes.pop("public", self.key.public)
        steps: list[str] = changes.pop("steps", [])
        options = replace(self.options, **changes)
        (result,) = deploy([board.board], folder, manifest, public, options, lambda _, step: steps.append(step))
        return result


@pytest.fixture
def deploy_to(sshd: Sshd, key: SigningKey) -> Deployer:
    return Deployer(sshd, key)


def release_of(folder: Path) -> str:
    return Manifest.from_json((folder / MANIFEST).read_bytes()).release


@pytest.fixture(scope="session")
def release() -> Callable[[Path], str]:
    return release_of


def tell_lies(folder: Path) -> None:
    """As if the host had seen other answers: what a board with another CPU or engine looks like to its own proof."""
    proof = json.loads((folder / "proof.json").read_bytes())
    proof["answers"][0]["logits"][0] += 1.0
    (folder / "proof.json").write_text(json.dumps(proof))


@pytest.fixture(scope="session")
def lie() -> Callable[[Path], None]:
    return tell_lies


@pytest.fixture
def serving_board(board: "BoardFolder", make: "Bundler", deploy_to: "Deployer") -> "BoardFolder":
    """A board that serves a release already."""
    assert deploy_to(board, make("old")).outcome == "deployed"
    return board


@pytest.fixture
def light_board(board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer") -> "BoardFolder":
    """The same, with the stand-in."""
    assert deploy_to(board, make_light("old")).outcome == "deployed"
    return board
