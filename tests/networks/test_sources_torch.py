"""Networks of plain torch: `package.module:function` and `model.pt2`, from source to verified files."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from torch import nn

from edgex.cli.convert import command
from edgex.networks.deploy import Deployed
from edgex.networks.source import Missing, resolve
from edgex.networks.sources.complete import require_logits
from edgex_converters.config import ConvertConfig
from edgex_converters.pipeline import convert
from edgex_runtime.errors import BadInputError, ModelFileError, SpecError, WeightsError
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# Nothing that we could change: torch 2.13's exporter warns of its own use of pytree.
exports = pytest.mark.filterwarnings("default")

TRANSFORMER = '''
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        n, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        x = x + self.out(y.transpose(1, 2).reshape(n, tokens, width))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A vision transformer (Dosovitskiy 2020, arXiv:2010.11929), small."""

    def __init__(self, size=32, patch=8, width=32, classes=3):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.place = nn.Parameter(0.1 * torch.randn(1, (size // patch) ** 2, width))
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 4))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2) + self.place
        return self.head(self.norm(self.blocks(x)).mean(1))


def build():
    return Transformer()


def softmaxed():
    return nn.Sequential(Transformer(), nn.Softmax(1))


def nothing():
    return None


number = 3
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the current folder, under a name of its own for each test."""
    name = f"mynet_{abs(hash(tmp_path)):x}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(TRANSFORMER), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return name


@pytest.fixture
def said(labels: Path) -> dict[str, Any]:
    """All that a function leaves open."""
    return {"labels": labels, "resize": "stretch", "input_size": (32, 32), "mean": MEAN, "std": STD}


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )


def save_pt2(path: Path, network: nn.Module, *, dynamic: bool = True) -> Path:
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    torch.export.save(torch.export.export(network, (torch.rand(2, 3, 32, 32),), dynamic_shapes=shapes), path)
    return path


@exports
def test_a_transformer_passes_the_parity_gate_in_every_format(
    module: str, said: dict[str, Any], coloured_photos: Path, silent: Any, tmp_path: Path
) -> None:
    source = resolve(f"{module}:build", Missing(**said))
    config = ConvertConfig(
        name="transformer", out=tmp_path / "out", evaluation=coloured_photos, precisions=("fp32",), threads=1
    )
    outcomes = convert(source, config, silent).outcomes
    assert {str(outcome.target): (outcome.status, outcome.why) for outcome in outcomes} == {
        f"{kind} fp32": ("passed", "") for kind in ("onnx", "openvino", "tflite")
    }


def test_a_function_is_scaled_as_the_user_says(module: str, said: dict[str, Any]) -> None:
    source = resolve(f"{module}:build", Missing(**said))
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        want = source.network.network(((images - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2))
        got = source.network(images)
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()


def test_a_functions_random_weights_are_the_same_every_time(module: str, said: dict[str, Any]) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (resolve(f"{module}:build", Missing(**said)).sha256 for _ in range(2))
    assert first == second
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_users_state_dict_is_loaded(module: str, said: dict[str, Any], tmp_path: Path) -> None:
    state = resolve(f"{module}:build", Missing(**said)).network.network.state_dict()
    state["head.bias"] = torch.tensor([1.0, 2.0, 3.0])
    safetensors.torch.save_file(state, tmp_path / "mine.safetensors")
    source = resolve(f"{module}:build", Missing(**said, weights=str(tmp_path / "mine.safetensors")))
    assert source.network.network.head.bias.tolist() == [1.0, 2.0, 3.0]


def test_refuses_a_state_dict_of_another_network(module: str, said: dict[str, Any], tmp_path: Path) -> None:
    safetensors.torch.save_file(convnet().state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"head.bias: missing[\s\S]*nothing|nothing was loaded"):
        resolve(f"{module}:build", Missing(**said, weights=str(tmp_path / "other.safetensors")))


def test_refuses_a_pickle(module: str, said: dict[str, Any], tmp_path: Path) -> None:
    torch.save(convnet().state_dict(), tmp_path / "mine.pth")
    with pytest.raises(WeightsError, match="pickles run code"):
        resolve(f"{module}:build", Missing(**said, weights=str(tmp_path / "mine.pth")))


@pytest.mark.parametrize(
    ("left_out", "flag"),
    [("labels", "--labels FILE"), ("resize", "--resize crop"), ("input_size", "--input-size"), ("std", "--std R,G,B")],
)
def test_asks_by_name_for_what_is_missing(module: str, said: dict[str, Any], left_out: str, flag: str) -> None:
    with pytest.raises(SpecError, match=flag):
        resolve(f"{module}:build", Missing(**{key: value for key, value in said.items() if key != left_out}))


def test_asks_for_everything_at_once(module: str) -> None:
    with pytest.raises(SpecError, match=r"--labels[\s\S]*--resize[\s\S]*--input-size[\s\S]*--mean"):
        resolve(f"{module}:build", Missing())


def test_refuses_a_std_of_pixels_0_to_1(module: str, said: dict[str, Any]) -> None:
    said |= {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    with pytest.raises(SpecError, match=r"multiply both by 255 \(the std is then 58.395, 57.12, 57.375\)"):
        resolve(f"{module}:build", Missing(**said))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "want a function that returns a torch.nn.Module, got NoneType"),
        ("number", "want a function 'number' in .*, found a int"),
        ("absent", "found nothing of that name"),
        ("softmaxed", "want logits, got probabilities"),
    ],
)
def test_refuses_what_is_no_network(module: str, said: dict[str, Any], function: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        resolve(f"{module}:{function}", Missing(**said))


def test_names_a_module_that_is_not_there() -> None:
    with pytest.raises(BadInputError, match="there is no module 'no_such_package'"):
        resolve("no_such_package.nets:build", Missing())


def test_refuses_a_size_that_the_network_does_not_take(module: str, said: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="--input-size"):
        resolve(f"{module}:build", Missing(**said | {"input_size": (64, 64)}))


def test_wants_a_label_for_each_logit(module: str, said: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(SpecError, match="want a label for each of the 3 logits, got 2"):
        resolve(f"{module}:build", Missing(**said | {"labels": tmp_path / "two.txt"}))


@exports
def test_an_exported_program_says_its_size_and_passes_the_parity_gate(
    said: dict[str, Any], coloured_photos: Path, silent: Any, tmp_path: Path
) -> None:
    network = convnet().eval()
    path = save_pt2(tmp_path / "mine.pt2", network)
    source = resolve(str(path), Missing(**said | {"input_size": None}))
    assert (source.spec.input.height, source.spec.input.width, source.spec.name) == (32, 32, "mine")
    config = ConvertConfig(
        name="mine",
        out=tmp_path / "out",
        evaluation=coloured_photos,
        formats=("onnx",),
        precisions=("fp32",),
        threads=1,
    )
    outcomes = convert(source, config, silent).outcomes
    assert [(outcome.status, outcome.why) for outcome in outcomes] == [("passed", "")]
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        want = Deployed(network, Normalise(mean=MEAN, std=STD)).eval()(images)
        assert torch.allclose(source.network(images), want, rtol=0, atol=1e-6)


@exports
def test_refuses_a_program_with_a_fixed_batch(said: dict[str, Any], tmp_path: Path) -> None:
    path = save_pt2(tmp_path / "fixed.pt2", convnet().eval(), dynamic=False)
    with pytest.raises(BadInputError, match=r"want a free batch, it was exported for 2: torch\.export"):
        resolve(str(path), Missing(**said))


@exports
def test_refuses_a_program_that_was_exported_while_it_trained(said: dict[str, Any], tmp_path: Path) -> None:
    path = save_pt2(tmp_path / "training.pt2", convnet().train())
    with pytest.raises(BadInputError, match="exported while it trained"):
        resolve(str(path), Missing(**said))


def test_refuses_a_file_that_is_no_program(said: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "broken.pt2"
    path.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(ModelFileError, match="torch cannot read it"):
        resolve(str(path), Missing(**said))


def test_bgr_and_channels_last_networks_see_their_own_order() -> None:
    images = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    normalise = Normalise(mean=(3.0, 2.0, 1.0), std=(1.0, 2.0, 4.0))
    rgb = (images.float() - torch.tensor(normalise.mean)) / torch.tensor(normalise.std)
    assert torch.equal(Deployed(nn.Identity(), normalise, layout="NHWC")(images), rgb)
    assert torch.equal(Deployed(nn.Identity(), normalise, layout="NHWC", color="BGR")(images), rgb.flip(3))
    assert torch.equal(Deployed(nn.Identity(), normalise, color="BGR")(images), rgb.flip(3).permute(0, 3, 1, 2))


def test_refuses_a_network_whose_logits_are_not_finite(labels: Path) -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.float().mean((1, 2)) * np.inf

    spec = ModelSpec(
        name="x", labels=("a", "b", "c"), input=InputSpec(height=8, width=8), resize=Resize(mode="stretch")
    )
    with pytest.raises(BadInputError, match="want finite logits"):
        require_logits("broken", Broken(), spec)


def test_help_shows_every_kind_of_source() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    for word in ("timm:NAME", "torchvision:NAME", "keras:NAME", "package.module:function", ".pt2", "--weights"):
        assert word in text


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [("--input-size", "axb", "want a size such as 224"), ("--mean", "1,2", "want one number a channel")],
)
def test_refuses_a_malformed_flag(flag: str, value: str, message: str) -> None:
    result = CliRunner().invoke(command, ["keras:MobileNet", flag, value])
    assert (result.exit_code, message in result.output) == (2, True)
