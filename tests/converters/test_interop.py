"""Our files in other people's programs: Model API, MediaPipe and plain onnxruntime, none of which knows edgex.

They cannot share our environment (two OpenCVs); `make test-interop` makes theirs. The interpreter is the one that
EDGEX_INTEROP_PYTHON names, or .venv-interop's beside the project. What they do differently, and these tests hold fast,
stands in docs/interoperability.md.
"""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgex_converters.stages import describe_tflite
from edgex_runtime.metadata.registry import read_spec, write_spec
from edgex_runtime.model import Model

pytestmark = pytest.mark.interop

ROOT = Path(__file__).resolve().parents[2]
every_precision = pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
ODD_LABELS = ("sky blue", "leaf, green", "röd", '"y" & <z>')

# Each prints a JSON list: [label, {label: score}] for each photo of argv[2:].
MODEL_API = """
import json, sys
import numpy as np
from PIL import Image
from model_api.models import Model
model = Model.create_model(sys.argv[1], configuration={"topk": 4})
answers = []
for path in sys.argv[2:]:
    top = model(np.array(Image.open(path).convert("RGB"))).top_labels
    answers.append([top[0].name, {label.name: float(label.confidence) for label in top}])
print(json.dumps(answers))
"""

# With a photo `PATH@left,right`, the region of interest is between these columns (shares of the width).
MEDIAPIPE = """
import json, sys
import numpy as np
import mediapipe
from PIL import Image
from mediapipe.tasks.python import BaseOptions, vision
from mediapipe.tasks.python.components.containers.rect import RectF
from mediapipe.tasks.python.vision.core.image_processing_options import ImageProcessingOptions
options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=sys.argv[1]))
answers = []
with vision.ImageClassifier.create_from_options(options) as classifier:
    for word in sys.argv[2:]:
        path, _, columns = word.partition("@")
        pixels = np.array(Image.open(path).convert("RGB"))
        region = None
        if columns:
            left, right = map(float, columns.split(","))
            region = ImageProcessingOptions(region_of_interest=RectF(left=left, top=0.0, right=right, bottom=1.0))
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        found = classifier.classify(image, region).classifications[0].categories
        answers.append([found[0].category_name, {entry.category_name: entry.score for entry in found}])
print(json.dumps(answers))
"""

# What someone writes who has the file and nothing else: size and type from the graph, labels from `names`.
ONNXRUNTIME = """
import ast, json, sys
import numpy as np
import onnxruntime
from PIL import Image, ImageOps
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
props = session.get_modelmeta().custom_metadata_map
names = ast.literal_eval(props["names"])
contract = json.loads(props["edgex"])
(image,) = session.get_inputs()
_, height, width, channels = image.shape
assert (image.type, channels, contract["resize"]["mode"]) == ("tensor(uint8)", 3, "crop")
answers = []
for path in sys.argv[2:]:
    photo = ImageOps.fit(Image.open(path).convert("RGB"), (width, height), Image.Resampling.BILINEAR)
    (logits,) = session.run(None, {image.name: np.asarray(photo)[None]})
    answers.append([names[int(logits[0].argmax())], {names[i]: float(x) for i, x in enumerate(logits[0])}])
print(json.dumps(answers))
"""

Answers = list[tuple[str, dict[str, float]]]


@pytest.fixture(scope="module")
def python() -> str:
    named = os.environ.get("EDGEX_INTEROP_PYTHON", str(ROOT / ".venv-interop" / "bin" / "python"))
    if not Path(named).is_file():
        pytest.skip(f"no environment with other people's programs at {named}: `make test-interop` makes it")
    return named


@pytest.fixture(scope="module")
def val(made) -> list[Path]:
    """Photos of several sizes and aspect ratios, three a class."""
    return sorted(path for label in made.source.spec.labels for path in (made.photos / "val" / label).glob("00[0-2].*"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red where a centre crop looks, blue on both sides: 64 × 300."""
    picture = np.full((64, 300, 3), (40, 60, 200), np.float64)
    picture[:, 118:182] = (200, 50, 40)
    noise = np.random.default_rng(1).normal(0, 30, picture.shape)
    path = tmp_path_factory.mktemp("wide") / "wide.png"
    Image.fromarray((picture + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


def ask(python: str, program: str, model: Path, *photos: object, cwd: Path) -> Answers:
    # Theirs alone: nothing of ours can be imported there.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, "-c", program, str(model), *map(str, photos)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stderr
    answers: Answers = json.loads(done.stdout)
    return answers


def ours(model: Path, photos: list[Path]) -> list[Any]:
    with Model(model, threads=1) as loaded:
        return [loaded.predict(photo) for photo in photos]


@every_precision
def test_model_api_gives_our_label_and_our_probabilities(
    made, python: str, val: list[Path], wide: Path, tmp_path: Path, precision: str
) -> None:
    model = made.out / f"colours-{precision}.xml"
    expected = ours(model, [*val, wide])
    answers = ask(python, MODEL_API, model, *val, wide, cwd=tmp_path)
    assert [label for label, _ in answers] == [prediction.label for prediction in expected]
    assert answers[-1][0] == "red", "it does not crop as resize_type says"
    for (label, scores), prediction in zip(answers, expected, strict=True):
        # Softmax is theirs. Their resize does not average before it interpolates: a few percent on noisy photos.
        assert scores[label] == pytest.approx(prediction.score, abs=0.05)


@every_precision
def test_mediapipe_gives_our_label_and_our_logits(
    made, python: str, val: list[Path], wide: Path, tmp_path: Path, precision: str
) -> None:
    model = made.out / f"colours-{precision}.tflite"
    spec = read_spec(model)
    assert spec is not None
    assert spec.golden is not None
    expected = ours(model, [*val, wide])
    answers = ask(python, MEDIAPIPE, model, *val, f"{wide}@{118 / 300},{182 / 300}", cwd=tmp_path)
    assert [label for label, _ in answers] == [prediction.label for prediction in expected]
    # The region is of the input's size, so that nothing is resized: the scores are the logits, no softmax is applied.
    scores = [answers[-1][1][label] for label in spec.labels]
    np.testing.assert_allclose(scores, expected[-1].logits, rtol=0, atol=spec.golden.tolerance)


def test_mediapipe_stretches_whatever_the_metadata_says(made, python: str, wide: Path, tmp_path: Path) -> None:
    """TFLite Metadata has no word for a crop; a caller gives the region, as above. This fails when that changes."""
    ((label, _),) = ask(python, MEDIAPIPE, made.out / "colours-fp32.tflite", wide, cwd=tmp_path)
    assert label == "blue"


@every_precision
def test_plain_onnxruntime_gives_our_label(
    made, python: str, val: list[Path], wide: Path, tmp_path: Path, precision: str
) -> None:
    model = made.out / f"colours-{precision}.onnx"
    answers = ask(python, ONNXRUNTIME, model, *val, wide, cwd=tmp_path)
    assert [label for label, _ in answers] == [prediction.label for prediction in ours(model, [*val, wide])]
    assert answers[-1][0] == "red"


@pytest.mark.parametrize(("suffix", "program"), [(".xml", MODEL_API), (".tflite", MEDIAPIPE), (".onnx", ONNXRUNTIME)])
def test_labels_with_spaces_commas_and_umlauts_arrive(
    made, python: str, val: list[Path], tmp_path: Path, suffix: str, program: str
) -> None:
    model = tmp_path / f"odd{suffix}"
    shutil.copy(made.out / f"colours-fp32{suffix}", model)
    if suffix == ".xml":
        shutil.copy(made.out / "colours-fp32.bin", model.with_suffix(".bin"))
    spec = read_spec(model)
    assert spec is not None
    odd = replace(spec, labels=ODD_LABELS, golden=None)
    if suffix == ".tflite":
        describe_tflite.run(model, odd)
    write_spec(model, odd)
    ((_, scores),) = ask(python, program, model, val[0], cwd=tmp_path)
    # Model API splits its list of labels at spaces.
    assert set(scores) == {label.replace(" ", "_") if suffix == ".xml" else label for label in ODD_LABELS}
