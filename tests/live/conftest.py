"""A deterministic model without an engine, frames, and real video files."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgex_runtime.engines.engine import EngineInfo
from edgex_runtime.predictions import Prediction, Prepared, Score, Timing
from edgex_runtime.sources.source import Frame
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

GRACE_S = 2.0
LABELS = ("dark", "bright")
SPEC = ModelSpec(
    name="brightness",
    labels=LABELS,
    input=InputSpec(height=8, width=8),
    resize=Resize(mode="stretch"),
    output="probabilities",
)


@dataclass
class BrightnessModel:
    """Says how bright a picture is; `before` runs at the start of each call, as long as an inference would."""

    before: Callable[[], None] = lambda: None
    calls: int = 0
    spec: ModelSpec = SPEC
    info: EngineInfo = EngineInfo(name="fake", version="1", device="cpu")  # noqa: RUF009 - frozen

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        return Prepared(tensor=image.mean(keepdims=True), preprocess_ms=0.1)

    def classify(self, prepared: Sequence[Prepared]) -> list[Prediction]:
        self.calls += 1
        self.before()
        return [self._classify(float(one.tensor[0, 0, 0]) / 255) for one in prepared]

    def _classify(self, bright: float) -> Prediction:
        scores = sorted(zip((1 - bright, bright), self.spec.labels, strict=True), reverse=True)
        top5 = tuple(Score(label=label, score=score) for score, label in scores)
        timing = Timing(preprocess_ms=0.1, inference_ms=0.2, postprocess_ms=0.3)
        logits = np.array([1 - bright, bright], dtype=np.float32)
        return Prediction(label=top5[0].label, score=top5[0].score, top5=top5, logits=logits, timing=timing)


@pytest.fixture
def model() -> BrightnessModel:
    return BrightnessModel()


@pytest.fixture
def make_model() -> type[BrightnessModel]:
    """For tests that want several, or one of their own."""
    return BrightnessModel


def make_frame(index: int, *, captured_ns: int = 0, size: tuple[int, int] = (32, 24)) -> Frame:
    """A frame whose pixels tell its index."""
    image = np.full((size[1], size[0], 3), 1 + index % 250, dtype=np.uint8)
    return Frame(image=image, index=index, captured_ns=captured_ns, name=f"fake#{index}")


@pytest.fixture
def frame() -> Callable[..., Frame]:
    return make_frame


@pytest.fixture
def bar_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a real video whose frame N shows N as eight black or white bars."""

    def write(name: str = "bars.avi", *, frames: int = 20, fps: float = 12.5, codec: str = "MJPG") -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (128, 64))
        assert writer.isOpened()
        for number in range(frames):
            bits = [(number >> bit) & 1 for bit in range(8)]
            row = np.repeat(np.array(bits, dtype=np.uint8) * 255, 16)
            writer.write(np.ascontiguousarray(np.broadcast_to(row[None, :, None], (64, 128, 3))))
        writer.release()
        return path

    return write


def read_bars(image: NDArray[np.uint8]) -> int:
    """The number that `bar_video` drew, whatever the codec blurred."""
    return sum(1 << bit for bit in range(8) if image[32, 16 * bit + 8].mean() > 127)


@pytest.fixture
def bars() -> Callable[[NDArray[np.uint8]], int]:
    return read_bars


@pytest.fixture(autouse=True)
def no_thread_leaks() -> Iterator[None]:
    """Every test of the frame loop leaves the threads as it found them; their last steps may take a moment."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(GRACE_S)
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not left, f"left running: {left}"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("wants openssl, to make a certificate: apt-get install openssl")
    path = tmp_path_factory.mktemp("tls") / "camera.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=camera -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", path, "-out", path.with_suffix(".crt")], check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path
