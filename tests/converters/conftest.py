"""A small network that has really learnt something, and one conversion of it into all nine artifacts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgex.networks.checkpoint import save_checkpoint
from edgex.networks.source import Missing, resolve
from edgex.networks.xception import NORMALISE, Xception, XceptionConfig
from edgex_converters.config import ConvertConfig, QuantizeConfig
from edgex_converters.pipeline import convert
from edgex_converters.result import Conversion, Outcome
from edgex_converters.source import Source
from edgex_runtime.dataset import scan
from edgex_runtime.image import read_image
from edgex_runtime.spec import DatasetRef, InputSpec, ModelSpec, Provenance, Resize

SIZE = 64
COLOURS = {"blue": (40, 60, 200), "green": (50, 170, 60), "red": (200, 50, 40), "yellow": (210, 190, 50)}


class Silent:
    """An observer that only remembers the verdicts."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.outcomes: list[Outcome] = []

    def begin(self, step: str) -> None:
        self.steps.append(step)

    def advance(self, done: int, total: int) -> None:
        assert 0 < done <= total

    def finish(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@dataclass(frozen=True)
class Made:
    """The session's conversion, and what it was made from."""

    checkpoint: Path
    photos: Path
    out: Path
    source: Source
    config: ConvertConfig
    conversion: Conversion
    observer: Silent


def draw_photos(root: Path, per_class: int, rng: np.random.Generator) -> None:
    """Noisy pictures of one colour each, lit from a side, of several sizes: one folder a colour."""
    for label, colour in COLOURS.items():
        (root / label).mkdir(parents=True)
        for index in range(per_class):
            height, width = rng.integers(70, 130, 2)
            light = rng.uniform(0.6, 1.2)
            slope = rng.uniform(0.6, 1, 2) * rng.choice([-1, 1], 2)
            down, across = np.linspace(-0.5, 0.5, height)[:, None], np.linspace(-0.5, 0.5, width)
            lit = light * (1 + slope[0] * down + slope[1] * across)
            picture = np.array(colour) * lit[..., None] + rng.normal(0, 30, (height, width, 3)) + rng.normal(0, 12, 3)
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(root / label / f"{index:03}.png")


def train_quickly(photos: Path) -> tuple[Xception, ModelSpec]:
    """A few dozen steps of Adam: enough for four colours."""
    data = scan(photos / "train")
    images = np.stack([np.array(Image.fromarray(read_image(p.path)).resize((SIZE, SIZE))) for p in data.files])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    labels = torch.tensor([photo.label for photo in data.files])
    torch.manual_seed(0)
    network = Xception(XceptionConfig(width=0.125, middle_blocks=1, image_size=SIZE, classes=len(COLOURS)))
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(pixels), labels).backward()
        optimiser.step()
    with torch.no_grad():
        for _ in range(40):  # Batch-norm's running statistics lag behind weights that move this fast.
            network(pixels)
    spec = ModelSpec(
        name="colours",
        labels=data.labels,
        input=InputSpec(height=SIZE, width=SIZE),
        resize=Resize(mode="crop"),
        normalise=NORMALISE,
        provenance=Provenance(
            datasets=(DatasetRef(role="val", path=str(photos / "val"), count=240, fingerprint="of the test"),)
        ),
    )
    return network.eval(), spec


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ folders; 240 evaluation photos decide every gate."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    draw_photos(root / "train", 16, rng)
    draw_photos(root / "val", 60, rng)
    return root


@pytest.fixture(scope="session")
def checkpoint(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained checkpoint whose provenance names the val folder."""
    network, spec = train_quickly(photos)
    path = tmp_path_factory.mktemp("checkpoint") / "colours.safetensors"
    save_checkpoint(path, network, spec)
    return path


@pytest.fixture(scope="session")
def made(checkpoint: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All nine artifacts."""
    out = tmp_path_factory.mktemp("artifacts")
    source = resolve(str(checkpoint), Missing())
    config = ConvertConfig(
        name="colours",
        out=out,
        evaluation=photos / "val",
        calibration=photos / "train",
        quantize=QuantizeConfig(calibration_images=32),
        threads=1,
        command="pytest",
    )
    observer = Silent()
    return Made(checkpoint, photos, out, source, config, convert(source, config, observer), observer)
