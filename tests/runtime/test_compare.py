"""`edgex compare`: two files' answers to the same pictures, and the field of the contract in which they differ."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgex_runtime.comparison import compare, differing_fields
from edgex_runtime.errors import BadInputError
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.model import Model
from edgex_runtime.sources.registry import open_source
from edgex_runtime.spec import Normalise, Resize

TINY = Path(str(files("edgex_devices").joinpath("tiny")))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures of soft blobs, and a file that is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 256, (4, 4, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC))
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def test_the_same_network_in_two_formats_gives_the_same_answers(photos: Path) -> None:
    with Model(TINY / "tiny.onnx") as first, Model(TINY / "tiny.tflite") as second:
        comparison = compare(first, second, open_source(str(photos)))
    assert (comparison.images, comparison.agreement.value) == (12, 1.0)
    assert comparison.largest_score_difference < 1e-3
    assert comparison.disagreements == ()
    assert [Path(one.path).name for one in comparison.unreadable] == ["broken.jpg"]


def test_every_field_that_decides_what_a_picture_becomes_is_named() -> None:
    spec = read_spec(TINY / "tiny.onnx")
    assert spec is not None
    other = replace(
        spec,
        name="another",
        resize=Resize(mode="letterbox" if spec.resize.mode != "letterbox" else "crop"),
        normalise=Normalise(mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 1.0)),
        temperature=2.0,
        precision="fp16",
    )
    named = {difference.field for difference in differing_fields(spec, other)}
    assert {"resize.mode", "normalise.mean", "temperature"} <= named
    # What is called or stored otherwise is no difference of meaning.
    assert not named & {"name", "precision"}
    assert differing_fields(spec, spec) == ()


def test_labels_in_another_order_are_matched_by_name(photos: Path) -> None:
    class Turned:
        """The same model behind another list of labels."""

        def __init__(self, model: Model) -> None:
            self._model = model
            self.spec = replace(model.spec, labels=model.spec.labels[::-1])

        def predict(self, image: object) -> object:
            prediction = self._model.predict(image)  # type: ignore[arg-type]
            return replace(prediction, logits=prediction.logits[::-1])

    with Model(TINY / "tiny.onnx") as model:
        comparison = compare(model, Turned(model), open_source(str(photos)))  # type: ignore[arg-type]
    assert comparison.largest_score_difference < 1e-6
    assert [difference.field for difference in comparison.contract] == ["labels"]


def test_a_live_source_and_a_folder_without_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with Model(TINY / "tiny.onnx") as model:
        with pytest.raises(BadInputError, match="want files, which both models can be shown"):
            compare(model, model, open_source("test://shapes"))
        with pytest.raises(BadInputError, match="want a picture or more that can be read"):
            compare(model, model, open_source(str(tmp_path / "broken.jpg")))


def run(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgex", "compare", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_and_fails_by_what_was_asked_for(photos: Path, tmp_path: Path) -> None:
    from edgex_runtime.metadata.registry import write_spec

    other = tmp_path / "other.onnx"
    shutil.copyfile(TINY / "tiny-int8.onnx", other)
    spec = read_spec(other)
    assert spec is not None
    write_spec(other, replace(spec, labels=spec.labels[::-1], golden=None))
    same = run(TINY / "tiny.onnx", TINY / "tiny.tflite", photos, "--json", "--min-agreement", "1")
    assert same.returncode == 0, same.stderr
    assert json.loads(same.stdout)["agreement"]["value"] == 1.0
    swapped = run(TINY / "tiny.onnx", other, photos, "--min-agreement", "0.99")
    assert swapped.returncode == 4
    assert "pictures that they call different things" in swapped.stdout
    assert "labels:" in swapped.stdout
    assert "want 99.0%" in swapped.stderr
