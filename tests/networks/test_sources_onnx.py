"""`model.onnx`: a classifier of others, from the file to verified artifacts that take bytes."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from edgex.cli.convert import command
from edgex.networks.deploy import Deployed
from edgex.networks.source import Missing, resolve
from edgex_converters.config import ConvertConfig, QuantizeConfig
from edgex_converters.pipeline import Source, convert
from edgex_converters.stage import Job
from edgex_converters.stages import adopt_onnx
from edgex_runtime.errors import BadInputError, ModelFileError, SpecError
from edgex_runtime.model import Model
from edgex_runtime.spec import Normalise

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SIDE = 32


class Convnet(nn.Module):
    """Unlike its own mirror image in every channel, so that a wrong order or layout shows."""

    def __init__(self, *, layout: str = "NCHW", softmax: bool = False) -> None:
        super().__init__()
        self.layout, self.softmax = layout, softmax
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2))
        self.head = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images if self.layout == "NCHW" else images.permute(0, 3, 1, 2)
        logits: torch.Tensor = self.head(torch.relu(self.features(x)).mean((2, 3)))
        return logits.softmax(1) if self.softmax else logits


def build(*, layout: str = "NCHW", softmax: bool = False) -> Convnet:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Convnet(layout=layout, softmax=softmax).eval()


def export(
    path: Path, *, layout: str = "NCHW", softmax: bool = False, dynamic: bool = True, beside: bool = False
) -> Path:
    """As a user would: opset 18, float images, the network's own scaling left to whoever calls it."""
    network = build(layout=layout, softmax=softmax)
    shape = (3, SIDE, SIDE) if layout == "NCHW" else (SIDE, SIDE, 3)
    with warnings.catch_warnings():
        # The exporter of torch 2.13 copies its own pytree specs, and warns of their class while it does.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
        torch.onnx.export(
            network,
            (torch.zeros(2 if dynamic else 1, *shape),),
            str(path),
            dynamo=True,
            opset_version=18,
            external_data=beside,
            # Names that collide with ours.
            input_names=["logits"],
            output_names=["image"],
            dynamic_shapes=({0: torch.export.Dim("n")},) if dynamic else None,
            verbose=False,
        )
    return path


def draw_photos(root: Path, seed: int) -> Path:
    """Twelve of each label of `labels`, lit from a side: noise alone is no photo, and would be refused."""
    rng = np.random.default_rng(seed)
    for place, label in enumerate(("red", "green", "blue")):
        (root / label).mkdir(parents=True)
        for index in range(12):
            light = np.linspace(rng.uniform(0, 80), rng.uniform(80, 160), 96)[None, :, None]
            pixels = rng.normal(30, 10, (80, 96, 3)) + light
            pixels[..., place] += 80
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / label / f"{index}.png")
    return root


@pytest.fixture
def said(labels: Path) -> dict[str, Any]:
    return {"labels": labels, "resize": "stretch", "mean": MEAN, "std": STD, "color": "RGB"}


def their_answers(path: Path, images: NDArray[np.uint8], *, layout: str, color: str) -> NDArray[np.float32]:
    """What the file's own user gets, scaled by hand."""
    x = (images.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    x = x[..., ::-1] if color == "BGR" else x
    x = x.transpose(0, 3, 1, 2) if layout == "NCHW" else x
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: np.ascontiguousarray(image[None])})[0] for image in x])


@pytest.mark.parametrize(
    ("layout", "color", "dynamic"), [("NCHW", "RGB", True), ("NCHW", "BGR", False), ("NHWC", "BGR", True)]
)
def test_an_artifact_answers_bytes_as_the_file_answers_scaled_floats(
    layout: str, color: str, dynamic: bool, said: dict[str, Any], coloured_photos: Path, silent: Any, tmp_path: Path
) -> None:
    path = export(tmp_path / "theirs.onnx", layout=layout, dynamic=dynamic, beside=dynamic)
    assert (tmp_path / "theirs.onnx.data").exists() == dynamic
    config = ConvertConfig(
        name="theirs",
        out=tmp_path / "out",
        evaluation=coloured_photos,
        formats=("onnx", "openvino"),
        precisions=("fp32",),
        threads=1,
    )
    conversion = convert(resolve(str(path), Missing(**{**said, "color": color})), config, silent)
    assert {str(outcome.target): (outcome.status, outcome.why) for outcome in conversion.outcomes} == {
        f"{kind} fp32": ("passed", "") for kind in ("onnx", "openvino")
    }
    images = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    want = their_answers(path, images, layout=layout, color=color)
    for suffix in ("onnx", "xml"):
        with Model(tmp_path / "out" / f"theirs-fp32.{suffix}", threads=1) as model:
            got = model.logits(list(images))
        # Scaling is folded into the first kernel where nothing pads: another order of the same sums.
        assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    batch = onnx.load(tmp_path / "out" / "theirs-fp32.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert bool(batch.dim_param) == dynamic


def test_fp16_and_int8_of_a_file_are_those_of_the_network_that_it_came_from(
    said: dict[str, Any], silent: Any, tmp_path: Path
) -> None:
    theirs = resolve(str(export(tmp_path / "theirs.onnx")), Missing(**said))
    network = Deployed(build(), Normalise(mean=MEAN, std=STD)).eval()
    measured = []
    for source in (theirs, Source(network=network, spec=theirs.spec, sha256="")):
        config = ConvertConfig(
            name="theirs",
            out=tmp_path / f"out{len(measured)}",
            evaluation=draw_photos(tmp_path / f"val{len(measured)}", seed=1),
            calibration=draw_photos(tmp_path / f"train{len(measured)}", seed=2),
            formats=("onnx", "openvino"),
            precisions=("fp16", "int8"),
            threads=1,
        )
        outcomes = convert(source, config, silent).outcomes
        # 36 photos cannot decide these gates, which is all that they are short of.
        assert all("cannot decide" in outcome.why for outcome in outcomes)
        measured.append([outcome.measured.metrics["sqnr_db"] for outcome in outcomes])
    # The same ops on the same weights; rounding is the same but where a value lies between two steps.
    np.testing.assert_allclose(measured[0], measured[1], atol=0.5)


def test_a_file_of_an_old_opset_is_written_in_a_newer_one(said: dict[str, Any], tmp_path: Path) -> None:
    """Opset 9, IR 3, where every weight is an input, too."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(4, 3, 3, 3)), "v": rng.normal(size=(4, 3))}
    tensors = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    value, make = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            make("Conv", ["x", "w"], ["c"]),
            make("Relu", ["c"], ["r"]),
            make("GlobalAveragePool", ["r"], ["p"]),
            make("Flatten", ["p"], ["f"]),
            make("MatMul", ["f", "v"], ["y"]),
        ],
        "old",
        [value("x", 1, ["n", 3, SIDE, SIDE]), *(value(tensor.name, 1, list(tensor.dims)) for tensor in tensors)],
        [value("y", 1, ["n", 3])],
        tensors,
    )
    path = tmp_path / "old.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 9)], ir_version=3), path)
    source = resolve(str(path), Missing(**said))
    job = Job(lazy_network=source.lazy_network(), spec=source.spec, calibration=None, quantize=QuantizeConfig())
    adopt_onnx.run(job, None, tmp_path / "new.onnx")
    images = rng.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    got = onnxruntime.InferenceSession(tmp_path / "new.onnx").run(None, {"image": images})[0]
    want = their_answers(path, images, layout="NCHW", color="RGB")
    # Scaling is folded into the kernel, which pads nothing here: the sums cancel differently.
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    assert onnx.load(tmp_path / "new.onnx").opset_import[0].version == 18


def test_the_command_says_that_tflite_needs_the_network(
    said: dict[str, Any], coloured_photos: Path, tmp_path: Path
) -> None:
    path = export(tmp_path / "theirs.onnx")
    words = ["--labels", str(said["labels"]), "--resize", "stretch", "--mean", "0", "--std", "255", "--color", "RGB"]
    arguments = [str(path), "--precision", "fp32", "--eval", str(coloured_photos), "-o", str(tmp_path / "out"), *words]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, BadInputError)
    assert "--to onnx,openvino" in str(result.exception)


def test_asks_for_all_that_is_missing_at_once(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        resolve(str(export(tmp_path / "theirs.onnx")), Missing())
    assert all(flag in str(caught.value) for flag in ("--labels", "--resize", "--mean", "--std", "--color"))
    assert "--input-size" not in str(caught.value)


def test_names_in_the_file_are_its_labels(said: dict[str, Any], tmp_path: Path) -> None:
    path = export(tmp_path / "theirs.onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"names": json.dumps({0: "x", 1: "y", 2: "z"})})
    onnx.save(model, path)
    assert resolve(str(path), Missing(**{**said, "labels": None})).spec.labels == ("x", "y", "z")


def test_refuses_a_softmax_with_the_command_that_cuts_it_off(said: dict[str, Any], tmp_path: Path) -> None:
    path = export(tmp_path / "theirs.onnx", softmax=True)
    with pytest.raises(BadInputError, match="ends in a Softmax") as caught:
        resolve(str(path), Missing(**said))
    code = str(caught.value).partition('python -c "')[2].removesuffix('"')
    cut = tmp_path / "theirs-logits.onnx"
    exec(code.replace("theirs-logits.onnx", str(cut)))  # What the message tells the user to run.
    assert resolve(str(cut), Missing(**said)).spec.labels


def test_refuses_a_damaged_file(said: dict[str, Any], tmp_path: Path) -> None:
    path = export(tmp_path / "theirs.onnx")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError):
        resolve(str(path), Missing(**said))


def test_refuses_another_size_than_the_graphs(said: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="leave --input-size out"):
        resolve(str(export(tmp_path / "theirs.onnx")), Missing(**said, input_size=(64, 64)))


def test_color_is_for_onnx_files_only(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="leave --color out"):
        resolve("timm:resnet18", Missing(color="BGR"))
