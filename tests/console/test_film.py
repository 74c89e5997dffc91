"""The product as a whole: a real film as a browser's webcam, `edgex live browser://`, and the page it is watched on."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import Browser, find_chromium

FRAMES = 45
TIMEOUT_S = 90


@pytest.fixture
def film(shared: Path, tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    """The first frames of a real video as Chromium's fake webcam reads them, and these frames, small."""
    capture = cv2.VideoCapture(str(next((shared / "video").glob("*.mp4"))))
    path, frames = tmp_path / "film.mjpeg", []
    with path.open("wb") as file:
        for _ in range(FRAMES):
            read, image = capture.read()
            assert read
            image = cv2.resize(image, (320, 180), interpolation=cv2.INTER_AREA)
            frames.append(small(image))
            file.write(cv2.imencode(".jpg", image)[1].tobytes())
    capture.release()
    return path, frames


def small(image: np.ndarray) -> np.ndarray:
    """(9, 16, 3) float."""
    return cv2.resize(image, (16, 9), interpolation=cv2.INTER_AREA).astype(float)


@pytest.fixture
def filmed_browser(film: tuple[Path, list[np.ndarray]], tmp_path: Path) -> Iterator[Browser]:
    options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    running = Browser(find_chromium(), tmp_path / "profile", *options, f"--use-file-for-fake-video-capture={film[0]}")
    yield running
    running.close()
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)


@pytest.mark.shared
def test_a_film_goes_in_and_its_frames_are_classified_and_collected(
    filmed_browser: Browser, film: tuple[Path, list[np.ndarray]], bare_model: Callable[..., Path], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    typed = [sys.executable, "-m", "edgex", "live", str(bare_model(tmp_path / "tiny.safetensors")), "browser://"]
    typed += ["--engine", "fake", "--out", f"http://127.0.0.1:0?collect={photos}"]
    with subprocess.Popen(typed, stderr=subprocess.PIPE, text=True) as process:
        killer = threading.Timer(TIMEOUT_S, process.kill)
        killer.start()
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        url = next(found[1] for line in lines if (found := re.search(r"console: (http://\S+)", line)))
        browser = filmed_browser
        browser.open(url, 1280)
        browser.wait("!document.querySelector('#camera').hidden")
        browser.click("#camera")
        browser.wait("document.querySelector('#stage').dataset.state === 'LIVE'")
        browser.wait("+document.querySelector('#frames').textContent > 30")
        assert browser.value("document.querySelector('#label').textContent") in ("circle", "square", "star")
        browser.value("document.querySelector('#class').value = 'bottle'")
        browser.click("#save button")
        browser.wait("document.querySelector('#saved').textContent.includes('1 in bottle')")
        assert browser.complaints() == []
        browser.click("#stop")
        browser.click("#sure button[value=yes]")
        rest = process.stderr.read()
        assert process.wait() == 0, rest
        killer.cancel()
    age_ms = float(re.search(r"age +median ([\d.]+) ms", rest)[1])  # type: ignore[index]
    assert 0 < age_ms < 5000, "of the moment that the camera took it, by our clock"
    [saved] = (photos / "bottle").glob("*.png")
    kept = cv2.imread(str(saved))
    # The browser's own decoding, scaling and encoding lie between, and a video's range of brightness.
    assert min(np.abs(small(kept) - one).mean() for one in film[1]) < 10, "it is a frame of the film"
