"""V4L2 cameras, as far as they go without one: what is found, what is waited for, and what is said."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import v4l2_guest

from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.sources.registry import open_source
from edgex_runtime.sources.webcam import descriptors_of, found, wait_readable


def test_the_cameras_that_exist_are_told_with_their_names(tmp_path: Path) -> None:
    dev, sys = tmp_path / "dev", tmp_path / "sys"
    (dev / "v4l" / "by-id").mkdir(parents=True)
    for name in ("video0", "video2", "video10"):
        (dev / name).touch()
    (dev / "v4l" / "by-id" / "usb-Maker_Cam-index0").touch()
    (sys / "video2").mkdir(parents=True)
    (sys / "video2" / "name").write_text("HD Webcam\n")
    told = found(dev, sys)
    assert f"{dev}/video0, {dev}/video2 (HD Webcam), {dev}/video10" in told
    assert told.endswith("by names that stay: " + str(dev / "v4l" / "by-id" / "usb-Maker_Cam-index0"))
    assert "no camera is plugged in" in found(tmp_path, sys)


def test_a_stable_name_is_a_camera_and_said_to_be_missing() -> None:
    with pytest.raises(SourceLostError, match="/dev/v4l/by-id/usb-None-index0: no such camera"):
        open_source("/dev/v4l/by-id/usb-None-index0?size=1280x720&format=MJPG&fps=30&timeout=2s")


@pytest.mark.parametrize("option", ["format=mjpeg", "format=", "timeout=0s"])
def test_options_that_no_driver_knows_are_refused(option: str) -> None:
    with pytest.raises(BadInputError, match="want"):
        open_source(f"97?{option}")


def test_a_silent_camera_is_waited_for_so_long_and_no_longer() -> None:
    reading, writing = os.pipe()
    try:
        started = time.monotonic()
        assert not wait_readable(reading, 0.3, lambda: False)
        assert 0.25 < time.monotonic() - started < 2
        stop = threading.Event()
        timer = threading.Timer(0.1, stop.set)
        timer.start()
        assert not wait_readable(reading, 30, stop.is_set)
        timer.join()
        os.write(writing, b"frame")
        assert wait_readable(reading, 30, lambda: False)
    finally:
        os.close(reading)
        os.close(writing)


def test_the_number_under_which_a_file_is_held_is_found(tmp_path: Path) -> None:
    path, link = tmp_path / "video0", tmp_path / "by-id"
    path.touch()
    link.symlink_to(path)
    before = descriptors_of(link)
    with path.open("rb") as file:
        assert descriptors_of(link) - before == {file.fileno()}
    assert descriptors_of(link) == set()


def run_in_guest(script: str, folder: Path, *modules: str) -> dict[str, Any]:
    if absent := v4l2_guest.missing():
        pytest.skip(f"wants {', '.join(absent)}: apt-get install {v4l2_guest.PACKAGES}")
    path = Path(v4l2_guest.__file__).with_name(script)
    lines = v4l2_guest.run_in_guest(path, folder, *modules).splitlines()
    return {key: value for line in lines if line.startswith("{") for key, value in json.loads(line).items()}


@pytest.mark.slow
def test_a_real_camera_is_read_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    """In a guest, since this machine has none: Debian's kernel with its test driver, half a minute."""
    told = run_in_guest("v4l2_script.py", tmp_path, "vivid")
    assert "/dev/video0 (vivid-000-vid-cap)" in told["found"]
    assert "/dev/video7: no such camera; here are /dev/video0" in told["missing"]
    assert told["waits by"] is not None
    assert told["shape"] == [360, 640, 3]
    assert told["age_ms"] < 1000
    assert told["asked for"] == [10.0, [180, 320, 3]]
    assert (told["unplugged"], told["plugged in"]) == ("RECONNECTING", "LIVE")
    assert told["closed_s"] < 2
    assert told["left"] == [0, ["MainThread"]]


@pytest.mark.slow
def test_a_usb_camera_that_sends_damaged_jpegs_shows_none_of_them(tmp_path: Path) -> None:
    """By the kernel's own driver, in a guest, from a camera made of software: every second picture is damaged."""
    pytest.importorskip("simplejpeg", reason="pip install 'edgex[jpeg]'")
    told = run_in_guest("usb_script.py", tmp_path, "vhci-hcd", "uvcvideo")
    assert told["driver"] == "uvcvideo"
    # Whole ones show 1 and 3.
    assert set(told["edgex"]) == {1, 3, "damaged"}
    assert told["edgex"].count("damaged") >= len(told["edgex"]) // 3
    assert "want a whole JPEG" in told["said"]
    assert told["shape"] == [480, 640, 3]
    assert told["age_ms"] < 5000
    assert "/dev/video0: the camera stopped sending" in told["unplugged"]
    assert None in told["opencv alone"], "OpenCV takes damaged ones for whole ones, or this proves nothing"
