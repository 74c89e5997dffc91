"""A whole board in software: Debian's arm64 kernel, systemd, sshd and a V4L2 camera; deploys, a reboot, and power cuts.

Opt-in (`make test-machine`): it wants root, qemu, mmdebstrap, and Debian's and Python's registries. Every instruction
is emulated, so nothing is learned of speed.
"""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import pytest
from power_cut import Cut
from virtual_board import ROOT, UNIT, VirtualBoard, open_board, tell

from edgex import Model
from edgex_devices.keys import SigningKey

pytestmark = pytest.mark.machine

VIVID = "/sys/bus/platform/drivers/vivid"
# On the board, so that nobody's patience with an emulated ssh is part of it; a camera is waited for for 30 s.
UNPLUG = f"""
state() {{ systemctl show -P StatusText {UNIT}; }}
echo vivid.0 > {VIVID}/unbind
for i in $(seq 100); do state | grep -q ^LIVE || break; sleep 0.1; done
state
echo vivid.0 > {VIVID}/bind
for i in $(seq 600); do state | grep -q ^LIVE && break; sleep 0.1; done
state
"""
# The picture that the camera shows, by what the service itself reads it with.
PHOTOGRAPH = f"""{ROOT}/envs/*/bin/python - <<EOF
import cv2
camera = cv2.VideoCapture("/dev/video0", cv2.CAP_V4L2)
camera.set(cv2.CAP_PROP_FRAME_WIDTH, 320); camera.set(cv2.CAP_PROP_FRAME_HEIGHT, 180)
cv2.imwrite("/tmp/frame.png", camera.read()[1])
EOF
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, model: Path, key: SigningKey) -> Iterator[VirtualBoard]:
    with open_board(tmp_path_factory.mktemp("machine"), model, key, is_quick=False) as board:
        yield board


@pytest.fixture
def served(board: VirtualBoard) -> str:
    return board.serving()


def test_a_bare_debian_answers_what_the_host_answered(board: VirtualBoard, served: str) -> None:
    seen = board.look()
    assert (seen["serving"], seen["kept"]) == (served, served)
    assert (seen["proof"]["same"], seen["damaged"], seen["damaged in the environment"]) == (True, [], [])
    assert seen["files in the environment"] > 1000


def test_a_camera_is_classified_by_nobody_in_the_group_video(board: VirtualBoard, served: str) -> None:
    pid = board.show("MainPID")
    assert board.machine(f"ps -o user= -p {pid}").strip() not in ("root", "pi", "")
    groups = board.machine(f"sudo grep ^Groups: /proc/{pid}/status").split()[1:]
    assert board.machine("getent group video").split(":")[2] in groups
    assert "Permission denied" in board.machine("cat /dev/video0 2>&1 | head -1")


def test_what_the_camera_shows_is_called_the_same_by_the_host(
    board: VirtualBoard, served: str, tmp_path: Path, model: Path
) -> None:
    told = board.status()["health"]["label"]
    # Read by one at a time; the picture is taken by the app's own environment.
    board.machine(f"sudo systemctl stop {UNIT}; sudo sh -c {quote(PHOTOGRAPH)}; sudo systemctl start {UNIT}")
    board.machine.fetch("/tmp/frame.png", tmp_path / "frame.png")
    with Model(model) as host:
        assert host.predict(tmp_path / "frame.png").label == told
    board.wait_until_live()
    logs = board.edgex("deploy", "logs", "board", "--app", "light", "--ssh-config", board.machine.config)
    assert "onnxruntime" in logs


def test_a_camera_that_is_unplugged_is_told_and_opened_again(board: VirtualBoard, served: str) -> None:
    pid = board.show("MainPID")
    unplugged, plugged = board.machine(f"sudo sh -c {quote(UNPLUG)}").splitlines()
    assert unplugged.startswith("RECONNECTING")
    assert plugged.startswith("LIVE")
    assert board.show("MainPID") == pid


def test_comes_back_by_itself_after_a_reboot(board: VirtualBoard, served: str) -> None:
    before = board.machine.boot_id()
    board.machine("sudo systemctl reboot", check=False)
    board.machine.wait_for_login(but_not_in=before)
    board.wait_until_live()
    assert board.status()["serving"] == served


def test_comes_back_when_the_power_went_and_so_did_what_was_not_flushed(board: VirtualBoard, served: str) -> None:
    """That these power cuts are ones: what no `fsync` has asked for is lost, what it has asked for is not."""
    board.machine("sync; echo kept > kept; sync kept; mv kept moved; echo lost > lost")
    board.machine.cut()
    tell("boot after a cut", board.machine.boot())
    assert board.machine("ls").split() == ["kept"]
    board.wait_until_live()
    assert board.look()["serving"] == served


def test_serves_the_old_release_whole_after_a_power_cut_behind_the_switch(board: VirtualBoard, served: str) -> None:
    """By the real app; all other points, by one that starts sooner, are in test_machine_power.py."""
    board.survive(Cut(step="link-switched"))
