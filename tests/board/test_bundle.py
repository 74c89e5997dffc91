"""What a bundle holds, that the same inputs give the same bytes, and that a board installs it without a network."""

import ensurepip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edgex.cli.bundle import command
from edgex_devices.agent.archive import check_folder
from edgex_devices.agent.config import CONFIG, AppConfig
from edgex_devices.agent.manifest import MANIFEST, Manifest
from edgex_devices.agent_zip import agent_zip
from edgex_devices.bundle import BundleOptions, make_bundle, seal
from edgex_devices.keys import SigningKey
from edgex_devices.own_wheel import write_own_wheel
from edgex_devices.profile import Profile, load_profile
from edgex_devices.wheelhouse import Target
from edgex_runtime.errors import BadInputError, BundleError

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler, Deployer


def test_holds_all_that_a_board_needs(make: "Bundler", model: Path, signers: Path) -> None:
    folder = make("a")
    manifest = check_folder(folder, signers)
    assert [file.path for file in manifest.files] == [
        "agent.pyz",
        "config.json",
        "model/light.onnx",
        "proof.json",
        "system/edgex-light.service",
        "system/journald-edgex-light.conf",
        "user/edgex-light.service",
    ]
    assert (folder / "model/light.onnx").read_bytes() == model.read_bytes()
    assert len(json.loads((folder / "proof.json").read_bytes())["answers"]) == 4


def test_the_same_inputs_give_the_same_archive(make: "Bundler") -> None:
    first = make("a").with_suffix(".edgex").read_bytes()
    assert make("a").with_suffix(".edgex").read_bytes() == first


def test_the_private_key_is_not_in_it(make: "Bundler", key: SigningKey) -> None:
    secret = key.private.read_text().splitlines()[2].encode()
    assert secret not in make("a").with_suffix(".edgex").read_bytes()


def test_photos_travel_with_their_answers(
    model: Path, profile: Profile, board_python: Path, key: SigningKey, tmp_path: Path
) -> None:
    import cv2
    import numpy as np

    photo = tmp_path / "One Photo.PNG"
    cv2.imwrite(str(tmp_path / "one.png"), np.full((20, 30, 3), 200, np.uint8))
    (tmp_path / "one.png").rename(photo)
    options = BundleOptions(model=model, profile=profile, python_on_board=str(board_python), photos=(photo,))
    folder = make_bundle(options, key, tmp_path).folder
    answers = json.loads((folder / "proof.json").read_bytes())["answers"]
    assert answers[-1]["image"] == "photos/0000.png"
    assert (folder / "photos/0000.png").read_bytes() == photo.read_bytes()


def test_says_which_engines_a_board_has_wheels_for(
    model: Path, profile: Profile, key: SigningKey, tmp_path: Path
) -> None:
    bare = replace(profile, systems=(replace(profile.system, wheels={}),))
    with pytest.raises(BadInputError, match=r"runs on onnxruntime, for which no wheel is known on this machine"):
        make_bundle(BundleOptions(model=model, profile=bare), key, tmp_path)
    assert not list(tmp_path.iterdir()), "something was left"


def test_a_name_that_no_bundle_holds_is_refused_before_wheels_are_fetched(
    model: Path, profile: Profile, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("wheels were fetched")

    monkeypatch.setattr("edgex_devices.wheelhouse.resolve", fetched)
    spaced = Path(shutil.copy(model, tmp_path / "my model.onnx"))
    with pytest.raises(BundleError, match=r"got 'model/my model.onnx': rename the file"):
        make_bundle(BundleOptions(model=spaced, profile=profile), key, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    spec = tmp_path / "my spec.toml"
    with pytest.raises(BundleError, match=r"my spec\.toml"):
        make_bundle(BundleOptions(model=model, profile=profile, spec=spec), key, tmp_path / "out")


def test_the_command_makes_the_folder_and_the_archive(
    model: Path, board_python: Path, key: SigningKey, tmp_path: Path
) -> None:
    profile = load_profile("raspberry-pi-5")
    flags = ["--board", profile.name, "--python-on-board", str(board_python), "--key", str(key.private)]
    done = CliRunner().invoke(command, [str(model), *flags, "-o", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    config = AppConfig.from_json((Path(said["folder"]) / CONFIG).read_bytes())
    assert (config.source, config.threads) == (profile.camera, profile.threads)
    assert Path(said["archive"]).stat().st_size == said["bytes"]


def test_our_own_wheel_is_the_same_each_time_and_pip_takes_it(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    first, second = write_own_wheel(tmp_path / "a"), write_own_wheel(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", "--target", tmp_path / "site"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, first], check=True)
    code = "import edgex_devices.agent.main, edgex_runtime.golden as g; assert len(g.NAMES) == 4"
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/", env={"PYTHONPATH": str(tmp_path / "site")})


def test_markers_are_judged_by_the_boards_python() -> None:
    from packaging.markers import Marker

    target = Target(python="3.10", arch="aarch64", platforms=("manylinux_2_28_aarch64",))
    environment = {**target.marker_environment(), "extra": ""}
    assert Marker("python_version < '3.11' and platform_machine == 'aarch64'").evaluate(environment)


def test_the_agent_needs_nothing_but_python(tmp_path: Path) -> None:
    """`-S -I`: no site-packages, no environment; as on a board that was never deployed to."""
    path = tmp_path / "agent.pyz"
    path.write_bytes(agent_zip())
    done = subprocess.run(
        [sys.executable, "-I", "-S", path, "exec", tmp_path], capture_output=True, text=True, check=False
    )
    assert "nothing was deployed here yet" in done.stderr


@pytest.fixture
def wheel_bundle(make_light: "Bundler", with_wheels: Callable[[Path], None]) -> Path:
    if not any((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")):
        pytest.skip("this Python comes without pip's wheel: apt install python3-venv")
    return make_light("wheels", change=with_wheels)


def test_installs_offline_into_an_environment_of_its_own_that_the_next_release_shares(
    board: "BoardFolder",
    wheel_bundle: Path,
    with_wheels: Callable[[Path], None],
    make_light: "Bundler",
    deploy_to: "Deployer",
    release: Callable[[Path], str],
) -> None:
    for step in ("environment-made", "environment-installed", "environment-complete"):
        assert deploy_to(board, wheel_bundle, die_at=step).outcome == "unreachable"
        assert board.serving is None
    first = deploy_to(board, wheel_bundle)
    assert (first.outcome, first.serving) == ("deployed", release(wheel_bundle)), first.why
    (env,) = board.store.envs.iterdir()
    assert len(list((env / "lib").rglob("edgex/__main__.py"))) == 1
    made = (env / "complete").stat().st_mtime_ns
    second = deploy_to(board, make_light("next", change=with_wheels))
    assert second.outcome == "deployed", second.why
    assert (env / "complete").stat().st_mtime_ns == made
    assert second.received_bytes < 10_000, "the wheels were copied again"
    assert deploy_to(board, make_light("without")).outcome == "deployed"
    assert deploy_to(board, make_light("and-again")).outcome == "deployed"
    assert not list(board.store.envs.iterdir()), "no release needs it any more"


def test_a_wheel_that_is_not_the_locks_is_not_installed(
    board: "BoardFolder", wheel_bundle: Path, key: SigningKey, deploy_to: "Deployer"
) -> None:
    lock = wheel_bundle / "requirements.txt"
    lock.write_text(lock.read_text().replace("sha256:", "sha256:0000")[:-5] + "\n")
    manifest = Manifest.from_json((wheel_bundle / MANIFEST).read_bytes())
    seal(wheel_bundle, key, app=manifest.app, board=manifest.board)
    result = deploy_to(board, wheel_bundle)
    assert (result.outcome, result.serving) == ("refused", None)
    assert "the environment cannot be made" in result.why
    assert not list(board.store.envs.iterdir()), "half an environment takes the room of the app that runs"


def test_another_python_than_the_bundles_is_named(
    board: "BoardFolder", make_light: "Bundler", with_wheels: Callable[[Path], None], deploy_to: "Deployer"
) -> None:
    def for_another_python(folder: Path) -> None:
        with_wheels(folder)
        config = AppConfig.from_json((folder / CONFIG).read_bytes())
        (folder / CONFIG).write_bytes(replace(config, python="3.99").to_json())

    result = deploy_to(board, make_light("other", change=for_another_python))
    assert result.outcome == "refused"
    assert "the bundle is for Python 3.99, the board has" in result.why


def test_a_config_of_another_schema_is_refused() -> None:
    with pytest.raises(BundleError):
        AppConfig.from_json(b'{"schema": 2, "health": {}, "alarms": [], "sinks": []}')
