"""Grad-CAM: on a network whose answer is known by construction, and as `edgex explain` is typed."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from edgex.cli.explain import command
from edgex.networks.checkpoint import save_checkpoint
from edgex.networks.xception import NORMALISE, Xception, XceptionConfig
from edgex_runtime.engines.explainer import Explainer
from edgex_runtime.engines.torch import GradCam, find_last_map
from edgex_runtime.errors import BadInputError
from edgex_runtime.explanation import draw_heat, explain, heat_of, lay_over
from edgex_runtime.model import Model
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

SIZE = 64


class ColourNetwork(nn.Module):
    """Class c is how much of colour c there is: each map of its convolution is one channel of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 1, bias=False)
        self.convolution.weight.data = torch.eye(3)[:, :, None, None]
        self.norm = nn.BatchNorm2d(3)
        self.activation = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classes = nn.Conv2d(3, 3, 1, bias=False)
        self.classes.weight.data = torch.eye(3)[:, :, None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.norm(self.convolution(x)))
        return self.classes(self.activation(self.pool(x))).flatten(1)


@pytest.fixture
def two_patches() -> torch.Tensor:
    """Red at the upper left, blue at the lower right."""
    picture = torch.zeros(1, 3, 8, 8)
    picture[0, 0, :4, :4] = 1
    picture[0, 2, 4:, 4:] = 1
    return picture


def test_the_heat_is_where_the_class_is(two_patches: torch.Tensor) -> None:
    gradcam = GradCam(ColourNetwork().eval())
    red, green, blue = (gradcam.explain(two_patches, index).numpy() for index in range(3))
    np.testing.assert_array_equal(red, two_patches[0, 0])
    np.testing.assert_array_equal(blue, two_patches[0, 2])
    assert not green.any()


def test_the_map_is_the_last_one_that_has_places_with_its_norm_and_activation(two_patches: torch.Tensor) -> None:
    network = ColourNetwork().eval()
    place = find_last_map(network, two_patches)
    assert (place.layer, place.call) == (network.activation, 0), "the 1 × 1 classifier and the second call come later"


def test_the_network_itself_is_left_alone(two_patches: torch.Tensor) -> None:
    network = ColourNetwork().eval()
    before = network(two_patches)
    gradcam = GradCam(network)
    gradcam.explain(two_patches, 0)
    assert not any(layer._forward_hooks for layer in network.modules())
    assert all(weight.grad is None for weight in network.parameters())
    assert {id(one) for one in gradcam._twin.parameters()} == {id(one) for one in network.parameters()}, "no copy"
    assert torch.equal(network(two_patches), before)


def test_a_network_without_a_convolution_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval()
    with pytest.raises(BadInputError, match="wants a network with a convolution"):
        GradCam(network).explain(torch.zeros(1, 3, 8, 8), 0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = Xception(XceptionConfig(width=0.125, middle_blocks=1, image_size=SIZE, classes=3))
    spec = ModelSpec(
        name="tiny",
        labels=("red", "green", "blue"),
        input=InputSpec(height=SIZE, width=SIZE),
        resize=Resize(mode="crop"),
        normalise=NORMALISE,
    )
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_checkpoint(path, network, spec)
    return path


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)


def test_the_torch_engine_explains_while_it_runs(checkpoint: Path, photo: np.ndarray) -> None:
    with Model(checkpoint, threads=1) as model:
        assert isinstance(model.engine, Explainer)
        tensor, alone = model.prepare(photo).tensor, model.predict(photo).logits
        heats: list[np.ndarray] = []
        asking = threading.Thread(target=lambda: heats.extend(model.engine.explain(tensor, 0) for _ in range(5)))
        asking.start()
        answers = [model.predict(photo).logits for _ in range(10)]
        asking.join()
    assert all(np.array_equal(answer, alone) for answer in answers)
    assert len(heats) == 5
    assert {heat.shape for heat in heats} == {(2, 2)}
    assert all(np.array_equal(heat, heats[0]) for heat in heats)
    assert heats[0].dtype == np.float32
    assert heats[0].max() in (0.0, 1.0)


def test_the_score_is_that_of_the_class_that_was_asked_for(checkpoint: Path, photo: np.ndarray) -> None:
    with Model(checkpoint, threads=1) as model:
        scores = {best.label: best.score for best in model.predict(photo).top5}
        for label, score in scores.items():
            assert explain(model, photo, label).score == pytest.approx(score)
        assert explain(model, photo).label == model.predict(photo).label
        with pytest.raises(BadInputError, match="no such class; did you mean 'green'"):
            explain(model, photo, "grean")


def test_an_engine_that_cannot_look_back_says_what_can(photo: np.ndarray, tmp_path: Path, bare_model) -> None:
    with (
        Model(bare_model(tmp_path / "bare.safetensors"), engine="fake") as model,
        pytest.raises(BadInputError, match=r"fake cannot say .* give the checkpoint \(\.safetensors\)"),
    ):
        heat_of(model, photo, "circle")


@pytest.mark.parametrize(
    ("resize", "hot"),
    [
        (Resize(mode="stretch"), (slice(0, 50), slice(0, 100))),
        (Resize(mode="crop"), (slice(0, 50), slice(50, 100))),
        (Resize(mode="letterbox"), (slice(0, 50), slice(0, 100))),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_the_heat_lies_where_the_picture_was_seen(resize: Resize, hot: tuple[slice, slice]) -> None:
    coarse = np.zeros((8, 8), np.float32)
    coarse[:4, :4] = 1
    spec = ModelSpec(name="m", labels=("a", "b"), input=InputSpec(height=64, width=64), resize=resize)
    heat = lay_over(coarse, 100, 200, spec)
    assert heat.shape == (100, 200)
    expected = np.zeros((100, 200), bool)
    expected[hot] = True
    # The edge of a coarse map is blurred over a cell: 25 picture pixels at most.
    assert ((heat > 0.5) != expected).mean() < 0.06
    assert heat.min() >= 0
    assert heat.max() <= 1


def test_cold_places_keep_their_pixels(photo: np.ndarray) -> None:
    heat = np.zeros(photo.shape[:2], np.float32)
    heat[:10] = 1
    drawn = draw_heat(photo, heat)
    np.testing.assert_array_equal(drawn[10:], photo[10:])
    assert (drawn[:10] != photo[:10]).mean() > 0.9


def test_as_it_is_typed(checkpoint: Path, photo: np.ndarray, tmp_path: Path) -> None:
    picture, out = tmp_path / "photo.png", tmp_path / "heat.png"
    Image.fromarray(photo).save(picture)
    done = CliRunner().invoke(command, [str(checkpoint), str(picture), "-o", str(out), "--class", "blue", "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["label"], answer["out"]) == (1, "blue", str(out))
    with Image.open(out) as drawn:
        assert drawn.size == (160, 90)


def test_a_name_that_is_no_png_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(checkpoint), "x.jpg", "-o", str(tmp_path / "heat.jpg")])
    assert isinstance(done.exception, BadInputError)
    assert "want a name that ends in .png" in str(done.exception)
