"""Fixtures that every area of the suite may use."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import Browser, find_chromium

from edgex_runtime.privacy import decline_telemetry

# Tests import vendors at their top, before any code of ours does that would decline.
decline_telemetry()


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the session's own: no test reads what an earlier one, or the user, has kept."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEX_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real photos and models beside the checkout; tests that want them are marked `shared`."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not (path / "data" / "flowers").is_dir():
        pytest.skip(f"the real photos are not here: {path} (data/flowers, models, hostile)")
    return path


@pytest.fixture(scope="session")
def webcam_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's fake webcam shows, over and over: a second of red, a second of blue, with noise in it."""
    width, height, rng = 160, 120, np.random.default_rng(0)
    film = bytearray(f"YUV4MPEG2 W{width} H{height} F20:1 Ip A1:1 C420jpeg\n".encode())
    for u, v, y in ((90, 240, 80), (240, 110, 60)):
        for _ in range(20):
            luma = rng.normal(y, 6, (height, width)).clip(16, 235).astype(np.uint8)
            film += (
                b"FRAME\n" + luma.tobytes() + bytes([u]) * (width * height // 4) + bytes([v]) * (width * height // 4)
            )
    path = tmp_path_factory.mktemp("webcam") / "film.y4m"
    path.write_bytes(film)
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory, webcam_film: Path) -> Iterator[Browser]:
    """One for the whole session, with a webcam of its own; a test opens the page that it wants."""
    webcam = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    webcam.append(f"--use-file-for-fake-video-capture={webcam_film}")
    running = Browser(find_chromium(), tmp_path_factory.mktemp("chromium"), *webcam)
    yield running
    running.close()
