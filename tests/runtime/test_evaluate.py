import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgex_runtime.dataset import scan
from edgex_runtime.errors import DatasetError
from edgex_runtime.evaluate import agreement, evaluate, max_abs_difference_of_range, measure, sqnr_db, wilson
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.model import Model
from edgex_runtime.spec import ModelSpec

LABELS = ("a", "b", "c")


def test_counts_every_class_by_hand() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 0, 2]]
    truth = np.array([0, 0, 0, 1, 1, 1])
    evaluation = measure(logits, truth, LABELS)
    assert evaluation.images == 6
    assert evaluation.top1.value == pytest.approx(3 / 6)
    assert evaluation.top5 is None
    assert evaluation.confusion == ((2, 1, 0), (1, 1, 1), (0, 0, 0))
    a, b, c = evaluation.classes
    assert (a.precision, a.recall, a.support) == pytest.approx((2 / 3, 2 / 3, 3))
    assert (b.precision, b.recall, b.support) == pytest.approx((1 / 2, 1 / 3, 3))
    assert (c.precision, c.recall, c.support) == (0.0, 0.0, 0)


def test_top5_counts_from_six_classes_on() -> None:
    logits = np.arange(6, dtype=np.float32)[None].repeat(2, axis=0)
    evaluation = measure(logits, np.array([0, 1]), tuple("abcdef"))
    assert evaluation.top5 is not None
    assert evaluation.top5.value == 0.5
    assert evaluation.top1.value == 0.0


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    # The closed form by hand; the first and the last are where the normal approximation has no width.
    [(0, 10, 0.0, 0.27753), (5, 10, 0.23659, 0.76341), (510, 551, 0.90061, 0.94468), (10, 10, 0.72247, 1.0)],
)
def test_wilson_interval(successes: int, count: int, low: float, high: float) -> None:
    share = wilson(successes, count)
    assert (share.low, share.high) == pytest.approx((low, high), abs=1e-5)


@settings(derandomize=True, max_examples=100)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share(case: tuple[int, int]) -> None:
    share = wilson(*case)
    assert 0.0 <= share.low <= share.value + 1e-12
    assert share.value - 1e-12 <= share.high <= 1.0


def test_agreement_compares_the_likeliest_class() -> None:
    a = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], np.float32)
    b = np.array([[9, 0], [0, 2], [0, 1], [2, 1]], np.float32)
    assert agreement(a, b) == 0.75


def test_difference_is_a_share_of_the_reference_range() -> None:
    reference = np.array([[-5.0, 0.0], [1.0, 5.0]], np.float32)
    assert max_abs_difference_of_range(reference, reference + np.float32(0.1)) == pytest.approx(0.01, rel=1e-4)
    flat = np.ones((2, 2), np.float32)
    assert max_abs_difference_of_range(flat, flat) == 0.0
    assert max_abs_difference_of_range(flat, flat + 1) == math.inf


def test_sqnr_is_20_db_for_a_tenth_of_noise() -> None:
    reference = np.array([[3.0, -4.0]], np.float32)
    assert sqnr_db(reference, reference * np.float32(1.1)) == pytest.approx(20.0, abs=1e-4)
    assert sqnr_db(reference, reference) == math.inf
    assert sqnr_db(np.zeros((1, 2), np.float32), reference) == -math.inf


@pytest.mark.parametrize("compare", [agreement, max_abs_difference_of_range, sqnr_db])
@pytest.mark.parametrize("shape", [(2, 3), (3,), (0, 2)])
def test_refuses_arrays_of_other_shapes(
    compare: Callable[[np.ndarray, np.ndarray], float], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="one shape"):
        compare(np.zeros(shape, np.float32), np.zeros((2, 2) if shape != (0, 2) else (0, 2), np.float32))


# On files.


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    for label in ("tulip", "daisy"):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def model(tmp_path: Path, tiny_onnx: Path, tiny_spec: ModelSpec) -> Model:
    path = Path(shutil.copy(tiny_onnx, tmp_path / "model.onnx"))
    write_spec(path, tiny_spec)
    return Model(path, threads=1)


def test_measures_what_predict_says(model: Model, photos: Path) -> None:
    dataset = scan(photos)
    done: list[int] = []
    evaluation = evaluate(model, dataset, done.append)
    right = sum(model.predict(photo.path).label == dataset.labels[photo.label] for photo in dataset.files)
    assert evaluation.top1.value == right / 6
    assert done == [1, 2, 3, 4, 5, 6]
    # Matched by name: daisy is the model's first class, tulip its last.
    assert [sum(row) for row in evaluation.confusion] == [3, 0, 0, 0, 3]
    assert evaluation.inference_ms > 0


def test_unreadable_photos_are_named_and_counted(model: Model, photos: Path) -> None:
    broken = photos / "tulip" / "1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    evaluation = evaluate(model, scan(photos))
    assert evaluation.images == 5
    assert [photo.path for photo in evaluation.unreadable] == [str(broken)]
    assert evaluation.unreadable[0].why


def test_no_readable_photo_is_an_error(model: Model, photos: Path) -> None:
    for photo in photos.rglob("*.png"):
        photo.write_bytes(b"text")
    with pytest.raises(DatasetError, match="none of its 6 photos can be read"):
        evaluate(model, scan(photos))


def test_classes_that_the_model_does_not_know_are_named(model: Model, photos: Path) -> None:
    (photos / "tulip").rename(photos / "tulips")
    with pytest.raises(DatasetError, match="does not know tulips; it knows daisy, dandelion"):
        evaluate(model, scan(photos))


def test_the_model_may_know_more_classes_than_there_are_photos(
    model: Model, photos: Path, tiny_spec: ModelSpec
) -> None:
    assert set(scan(photos).labels) < set(tiny_spec.labels)
    evaluation = evaluate(model, replace(scan(photos)))
    assert len(evaluation.classes) == len(tiny_spec.labels)
