"""A deploy over a real sshd on loopback: what is kept, what is refused, and what goes back by itself."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import eventually

from edgex_devices.agent.config import Health
from edgex_devices.agent.wire import Request
from edgex_devices.deploy import ask
from edgex_devices.keys import SigningKey

if TYPE_CHECKING:
    from tests.board.conftest import BoardFolder, Bundler, Deployer, Sshd

Release = Callable[[Path], str]


def test_serves_the_release_and_a_second_deploy_changes_nothing(
    board: "BoardFolder", make: "Bundler", deploy_to: "Deployer", release: Release
) -> None:
    bundle = make("a")
    first = deploy_to(board, bundle)
    assert (first.outcome, first.serving) == ("deployed", release(bundle)), first.why
    assert first.figures["frames"] > 0
    assert board.health()["state"] == "LIVE"
    assert "light by onnxruntime" in board.service.logs(50)
    files = {path: path.stat().st_mtime_ns for path in board.root.rglob("*") if "run" not in path.parts}
    started = time.monotonic()
    second = deploy_to(board, bundle)
    assert time.monotonic() - started <= 3
    assert (second.outcome, second.received_bytes) == ("unchanged", 0)
    assert {path: path.stat().st_mtime_ns for path in board.root.rglob("*") if "run" not in path.parts} == files


def test_keeps_two_releases_and_rolls_back_to_the_one_before(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer", release: Release
) -> None:
    bundles = [make_light("a"), make_light("bb"), make_light("ccc")]
    for bundle in bundles:
        assert deploy_to(board, bundle).outcome == "deployed"
    assert {path.name for path in board.store.releases.iterdir()} == {release(bundle) for bundle in bundles[1:]}
    request = Request(action="rollback", app="light", service="process", root=str(board.root))
    result = ask(board.board, request, deploy_to.options, lambda *_: None)
    assert getattr(result, "outcome", None) == "deployed"
    assert board.serving == release(bundles[1])
    told = ask(board.board, Request(**{**vars_of(request), "action": "status"}), deploy_to.options, lambda *_: None)
    assert isinstance(told, dict)
    assert (told["serving"], told["previous"], told["active"]) == (release(bundles[1]), release(bundles[2]), True)
    logs = ask(board.board, Request(**{**vars_of(request), "action": "logs"}), deploy_to.options, lambda *_: None)
    assert isinstance(logs, dict)
    assert logs["outcome"] == "logs"


def vars_of(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in Request.__dataclass_fields__}


def test_predictions_that_differ_never_get_to_serve(
    serving_board: "BoardFolder", make: "Bundler", deploy_to: "Deployer", lie: Callable[[Path], None]
) -> None:
    before, pid = serving_board.serving, serving_board.health()["pid"]
    result = deploy_to(serving_board, make("lie", change=lie))
    assert (result.outcome, result.kind) == ("refused", "ContractMismatchError")
    assert "predictions differ: golden:harbour" in result.why
    assert serving_board.serving == before
    assert serving_board.health()["pid"] == pid, "what served was disturbed"


def test_a_camera_that_gives_no_frame_goes_back(
    serving_board: "BoardFolder", make: "Bundler", deploy_to: "Deployer"
) -> None:
    before = serving_board.serving
    health = Health(start_s=2, window_s=1, max_age_ms=300, watchdog_s=10)
    result = deploy_to(serving_board, make("frozen", source="test://shapes?size=64x48&fps=20&freeze=1h", health=health))
    assert (result.outcome, result.serving) == ("rolled back", before)
    assert "no frame was classified within 2 s" in result.why
    assert eventually(lambda: serving_board.health()["frames"] > 3), "the old release does not serve again"


def test_a_service_that_hangs_in_its_window_goes_back(
    light_board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    before = light_board.serving
    health = Health(start_s=5, window_s=5, max_age_ms=100, watchdog_s=30)
    result = deploy_to(light_board, make_light("hung", source="hang", health=health))
    assert (result.outcome, result.serving) == ("rolled back", before)
    assert "the frame loop hangs" in result.why


def test_a_first_release_that_does_not_start_leaves_nothing_running(
    board: "BoardFolder", make: "Bundler", deploy_to: "Deployer"
) -> None:
    broken = make("broken", source="/nowhere.mp4", health=Health(start_s=2, window_s=1, max_age_ms=500, watchdog_s=5))
    result = deploy_to(board, broken)
    assert (result.outcome, result.serving) == ("rolled back", None)
    assert "no frame was classified within 2 s" in result.why
    assert not board.service.is_active()


def test_files_that_changed_on_the_way_are_refused(
    light_board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    """The host's own check comes before; this is the board's."""
    before, bundle = light_board.serving, make_light("flip")
    data = bytearray((bundle / "config.json").read_bytes())
    data[10] ^= 1
    (bundle / "config.json").write_bytes(data)
    result = deploy_to(light_board, bundle)
    assert (result.outcome, result.kind) == ("refused", "BundleError")
    assert light_board.serving == before


def test_a_key_that_the_board_does_not_know_is_refused_until_it_is_told_to_trust_it(
    light_board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer", other_key: SigningKey, release: Release
) -> None:
    bundle = make_light("theirs", key=other_key)
    result = deploy_to(light_board, bundle, public=other_key.public)
    assert (result.outcome, result.kind) == ("refused", "BundleError")
    assert "does not trust" in result.why
    assert deploy_to(light_board, bundle, public=other_key.public, trust_key=True).outcome == "deployed"
    assert light_board.serving == release(bundle)


def test_a_dry_run_says_what_would_change_and_changes_nothing(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    bundle = make_light("a")
    result = deploy_to(board, bundle, dry_run=True)
    assert (result.outcome, result.serving) == ("would deploy", None)
    assert result.received_bytes > 0
    assert not board.root.exists()


def test_a_second_deploy_is_refused_while_the_first_runs(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer", release: Release
) -> None:
    first, second = (
        make_light("a", health=Health(start_s=20, window_s=2, max_age_ms=1500, watchdog_s=10)),
        make_light("bb"),
    )
    steps: list[str] = []
    results = []
    thread = threading.Thread(target=lambda: results.append(deploy_to(board, first, steps=steps)))
    thread.start()
    assert eventually(lambda: "service-started" in steps)
    refused = deploy_to(board, second)
    thread.join()
    assert (refused.outcome, refused.kind) == ("refused", "DeployError")
    assert "another deploy is running" in refused.why
    assert refused.serving == release(first), "whoever is refused wants to know what the board serves"
    assert results[0].outcome == "deployed"


def test_a_folder_that_depends_on_where_one_logs_in_is_refused(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer"
) -> None:
    board.board = replace(board.board, root="some/where")
    result = deploy_to(board, make_light("a"))
    assert (result.outcome, result.kind) == ("refused", "BadInputError")
    assert "want a path from /" in result.why


def test_a_copy_that_was_cut_off_goes_on_where_it_was(
    board: "BoardFolder", make_light: "Bundler", deploy_to: "Deployer", sshd: "Sshd", tmp_path: Path
) -> None:
    bundle = make_light(
        "big", change=lambda folder: (folder / "model" / "ballast.bin").write_bytes(os.urandom(4 << 20))
    )
    cut = tmp_path / "cut"
    cut.write_text(CUT_AFTER_2_MB.format(port=sshd.port, python=sys.executable, done=tmp_path / "was-cut"))
    cut.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(f"Host board\n ProxyCommand {cut}\n{sshd.config.read_text()}")
    steps: list[str] = []
    result = deploy_to(board, bundle, ssh=type(deploy_to.options.ssh)(config=config), retries=2, steps=steps)
    assert (tmp_path / "was-cut").exists()
    assert result.outcome == "deployed", result.why
    assert steps.count("connecting-again") == 1
    assert 0 < result.received_bytes < (4 << 20), "what had come was copied again"


# The link of a user's ssh (ProxyCommand): the first time it breaks after two megabytes.
CUT_AFTER_2_MB = """#!{python}
import os, pathlib, socket, sys, threading
link = socket.create_connection(("127.0.0.1", {port}))
done = pathlib.Path("{done}")
limit = None if done.exists() else 2_000_000
def down():
    while data := link.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=down, daemon=True).start()
sent = 0
while data := os.read(0, 65536):
    link.sendall(data)
    sent += len(data)
    if limit and sent > limit:
        done.touch()
        os._exit(1)
"""


def test_a_link_that_breaks_in_the_trial_changes_nothing(
    board: "BoardFolder",
    make_light: "Bundler",
    deploy_to: "Deployer",
    sshd: "Sshd",
    tmp_path: Path,
    release: Release,
) -> None:
    """The board finishes by itself, and the host's next attempt finds it done."""
    bundle = make_light("a", health=Health(start_s=20, window_s=2, max_age_ms=1500, watchdog_s=10))
    cut = tmp_path / "cut"
    cut.write_text(CUT_WHEN_TOLD.format(port=sshd.port, python=sys.executable, now=tmp_path / "now"))
    cut.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(f"Host board\n ProxyCommand {cut}\n{sshd.config.read_text()}")

    class Steps(list[str]):
        def append(self, step: str) -> None:
            super().append(step)
            if step == "service-started":
                (tmp_path / "now").touch()

    steps = Steps()
    result = deploy_to(board, bundle, ssh=type(deploy_to.options.ssh)(config=config), retries=1, steps=steps)
    assert "connecting-again" in steps
    assert (result.outcome, result.serving) == ("unchanged", release(bundle)), result
    assert board.store.state().current == release(bundle)


CUT_WHEN_TOLD = """#!{python}
import os, pathlib, select, socket
link = socket.create_connection(("127.0.0.1", {port}))
now = pathlib.Path("{now}")
while True:
    ready, _, _ = select.select([0, link], [], [], 0.05)
    if now.exists():
        now.unlink()
        os._exit(1)
    if link in ready:
        data = link.recv(65536)
        if not data:
            break
        os.write(1, data)
    if 0 in ready:
        data = os.read(0, 65536)
        if not data:
            break
        link.sendall(data)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_is_too_full_is_refused_before_the_copy(
    make_board: "Callable[..., BoardFolder]", make_light: "Bundler", deploy_to: "Deployer", small_disk: Path
) -> None:
    board = make_board("board", small_disk / "app")
    old = make_light("old")
    assert deploy_to(board, old).outcome == "deployed"
    before = board.serving
    (small_disk / "ballast").write_bytes(bytes(20 << 20))
    result = deploy_to(board, make_light("new"))
    assert result.outcome == "refused"
    assert "the disk is too full: want" in result.why
    assert board.serving == before
    assert board.service.is_active()
    board.stop()


def test_a_disk_that_fills_up_in_the_window_goes_back_all_the_same(
    make_board: "Callable[..., BoardFolder]", make_light: "Bundler", deploy_to: "Deployer", small_disk: Path
) -> None:
    board = make_board("board", small_disk / "app")
    assert deploy_to(board, make_light("old")).outcome == "deployed"
    before = board.serving
    window = make_light("new", health=Health(start_s=10, window_s=3, max_age_ms=1500, watchdog_s=10))
    results = []
    steps: list[str] = []
    thread = threading.Thread(target=lambda: results.append(deploy_to(board, window, steps=steps)))
    thread.start()
    assert eventually(lambda: "service-started" in steps)
    fill(small_disk / "ballast")
    thread.join()
    assert results[0].outcome == "rolled back", results[0]
    assert board.serving == before
    board.stop()


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
