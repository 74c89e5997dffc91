import io
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgex import Model
from edgex_runtime.errors import BadInputError, ContractMismatchError, ImageError, ModelFileError, SpecError
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.postprocess import softmax, to_probabilities, top_scores
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

FILES = ["tiny_onnx", "tiny_openvino", "tiny_tflite", "tiny_checkpoint", "tiny_fake"]


@pytest.fixture
def path(tmp_path: Path, tiny_onnx: Path, tiny_spec: ModelSpec) -> Path:
    copy = Path(shutil.copy(tiny_onnx, tmp_path / "model.onnx"))
    write_spec(copy, tiny_spec)
    return copy


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("fixture", FILES)
def test_opens_every_format(
    request: pytest.FixtureRequest, fixture: str, tmp_path: Path, tiny_spec: ModelSpec, picture: NDArray[np.uint8]
) -> None:
    source: Path = request.getfixturevalue(fixture)
    for file in source.parent.glob("tiny.*"):
        shutil.copy(file, tmp_path)
    path = tmp_path / source.name
    if fixture != "tiny_checkpoint":
        write_spec(path, tiny_spec)
    with Model(path, engine="fake" if fixture == "tiny_fake" else None, threads=1) as model:
        prediction = model.predict(picture)
    assert prediction.label in tiny_spec.labels
    assert prediction.label == prediction.top5[0].label
    assert prediction.score == prediction.top5[0].score
    assert sum(score.score for score in prediction.top5) == pytest.approx(1.0)
    assert [score.score for score in prediction.top5] == sorted((s.score for s in prediction.top5), reverse=True)
    assert prediction.logits.shape == (5,)
    assert prediction.timing.total_ms > 0


def test_reads_a_picture_in_every_form(path: Path, tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    file = tmp_path / "picture.png"
    Image.fromarray(picture).save(file)
    encoded = io.BytesIO(file.read_bytes()).getvalue()
    with Model(path, threads=1) as model:
        expected = model.predict(picture).logits
        for form in (str(file), file, encoded, Image.fromarray(picture)):
            np.testing.assert_array_equal(model.predict(form).logits, expected)


def test_a_batch_is_the_same_as_one_by_one(path: Path, picture: NDArray[np.uint8]) -> None:
    pictures = [picture, picture[:20], picture[:, ::-1]]
    with Model(path, threads=1) as model:
        together = model.predict_batch(pictures)
        alone = [model.predict(one) for one in pictures]
        logits = model.logits(pictures)
    for a, b, row in zip(together, alone, logits, strict=True):
        assert a.label == b.label
        # Kernels for other batch sizes sum in another order.
        np.testing.assert_allclose(a.logits, b.logits, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(a.logits, row)


def test_no_pictures_give_no_predictions(path: Path) -> None:
    with Model(path, threads=1) as model:
        assert model.predict_batch([]) == []
        assert model.logits([]).shape == (0, 5)


def test_warms_up(path: Path) -> None:
    with Model(path, threads=1) as model:
        model.warm_up()


def test_refuses_what_is_no_picture(path: Path) -> None:
    with Model(path, threads=1) as model, pytest.raises(ImageError):
        model.predict(np.zeros((4, 4, 3), np.float32))


def test_a_closed_model_says_so(path: Path, picture: NDArray[np.uint8]) -> None:
    model = Model(path, threads=1)
    model.close()
    model.close()
    with pytest.raises(BadInputError, match="closed"):
        model.predict(picture)
    with pytest.raises(BadInputError, match="closed"):
        _ = model.engine


def test_logits_that_are_no_numbers_are_no_label(
    tmp_path: Path,
    tiny_spec: ModelSpec,
    make_onnx: Callable[..., Path],
    tiny_weights: object,
    picture: NDArray[np.uint8],
) -> None:
    broken = replace(tiny_weights, linear=np.full((5, 16), np.inf, np.float32))  # type: ignore[type-var]
    path = make_onnx(tmp_path / "inf.onnx", broken)
    write_spec(path, tiny_spec)
    with Model(path, threads=1) as model, pytest.raises(ContractMismatchError, match="NaN or infinity") as caught:
        model.predict(picture)
    assert caught.value.field == "output"


def test_threads_take_turns(path: Path, picture: NDArray[np.uint8]) -> None:
    results: list[NDArray[np.float32]] = []
    with Model(path, threads=1) as model:
        expected = model.predict(picture).logits

        def classify() -> None:
            for _ in range(50):
                results.append(model.predict(picture).logits)

        threads = [threading.Thread(target=classify) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 200
    assert all(np.array_equal(result, expected) for result in results)


def test_streams_a_folder_of_pictures(path: Path, tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(picture).save(folder / f"{i}.png")
    with Model(path, threads=1) as model:
        results = list(model.stream(str(folder), max_frames=2))
        expected = model.predict(picture).label
    assert [result.label for result in results if result.index is not None] == [expected, expected]


def test_a_missing_file_is_told_before_any_engine_starts() -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        Model("nowhere.onnx")


def test_a_file_with_a_contract_takes_no_second_one(path: Path, tiny_spec: ModelSpec) -> None:
    with pytest.raises(BadInputError, match="leave out spec"):
        Model(path, spec=tiny_spec)


# Foreign models: everything that is not known is asked for.


@pytest.fixture
def foreign(tmp_path: Path, tiny_onnx: Path) -> Path:
    return Path(shutil.copy(tiny_onnx, tmp_path / "foreign.onnx"))


def test_a_foreign_model_asks_for_what_is_missing(foreign: Path) -> None:
    with pytest.raises(SpecError) as caught:
        Model(foreign)
    for name in ("labels", "resize", "output", "input.color"):
        assert name in str(caught.value)
    for name in ("input.height", "input.layout", "normalise"):
        assert name not in str(caught.value)


def test_a_foreign_model_runs_by_a_toml_file(foreign: Path, tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    (tmp_path / "labels.txt").write_text("crane\r\nmaillot\ncrane\ndog\ncat\n")
    toml = tmp_path / "spec.toml"
    toml.write_text(
        'labels = "labels.txt"\noutput = "logits"\nresize = { mode = "letterbox", fill = 0 }\ninput.color = "RGB"\n'
    )
    with Model(foreign, spec=toml, threads=1) as model:
        assert model.spec.golden is None
        assert model.spec.name == "foreign"
        assert model.spec.labels == ("crane (0)", "maillot", "crane (2)", "dog", "cat")
        assert model.spec.input == InputSpec(height=32, width=32)
        assert model.spec.resize == Resize(mode="letterbox", fill=0)
        model.predict(picture)


def test_a_foreign_model_takes_labels_from_its_own_metadata(
    foreign: Path, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    import onnx

    model_proto = onnx.load(foreign)
    onnx.helper.set_model_props(model_proto, {"names": "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}"})
    onnx.save(model_proto, foreign)
    toml = tmp_path / "spec.toml"
    toml.write_text('output = "logits"\nresize.mode = "crop"\ninput.color = "RGB"\n')
    with Model(foreign, spec=toml, threads=1) as model:
        assert model.spec.labels == ("a", "b", "c", "d", "e")
        model.predict(picture)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels = [", "want a contract in TOML"),
        ('labels = "nowhere.txt"', "nowhere.txt"),
        ('lables = ["a"]\noutput="logits"\nresize.mode="crop"\ninput.color="RGB"', "labels ="),
        (
            'labels = ["a","b","c","d","e"]\noutput="logits"\nresize.mode="crop"\ninput.color="RGB"\ntemprature = 2.0',
            "did you mean 'temperature'",
        ),
        (
            'labels = ["a","b","c","d","e"]\noutput="logits"\nresize.mode="crop"\ninput = "RGB"',
            "want a table of InputSpec",
        ),
    ],
)
def test_a_wrong_toml_file_is_told(foreign: Path, tmp_path: Path, text: str, message: str) -> None:
    toml = tmp_path / "spec.toml"
    toml.write_text(text)
    with pytest.raises(SpecError, match=message):
        Model(foreign, spec=toml)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"labels": ("a", "b")}, "labels"),
        ({"input": InputSpec(height=64, width=64)}, "input"),
        ({"input": InputSpec(height=32, width=32, layout="NCHW")}, "layout"),
    ],
)
def test_a_foreign_contract_is_held_to_the_graph(
    foreign: Path, tiny_spec: ModelSpec, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(ContractMismatchError) as caught:
        Model(foreign, spec=replace(tiny_spec, **changes))  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.shared
def test_a_mobilenet_of_others_sees_the_bottle(shared: Path, tmp_path: Path) -> None:
    import cv2

    toml = tmp_path / "spec.toml"
    labels = shared / "models" / "labels_imagenet_1001.txt"
    toml.write_text(f'labels = "{labels}"\noutput = "probabilities"\nresize.mode = "crop"\ninput.color = "RGB"\n')
    video = cv2.VideoCapture(str(shared / "video" / "bottle-detection.mp4"))
    video.set(cv2.CAP_PROP_POS_FRAMES, 300)
    frame = cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB)
    video.release()
    with Model(shared / "models" / "mobilenet_v2_1.0_224_quant.tflite", spec=toml, threads=1) as model:
        prediction = model.predict(frame)
    assert prediction.label == "water bottle"
    assert prediction.score > 0.5


@pytest.mark.shared
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_float_nchw_model_of_others_runs(shared: Path, tmp_path: Path, engine: str) -> None:
    toml = tmp_path / "spec.toml"
    labels = shared / "models" / "labels_person.txt"
    toml.write_text(
        f'labels = "{labels}"\noutput = "probabilities"\nresize.mode = "stretch"\ninput.color = "RGB"\n'
        "normalise = { mean = [127.5, 127.5, 127.5], std = [127.5, 127.5, 127.5] }\n"
    )
    photo = next((shared / "data" / "flowers" / "val" / "daisy").glob("*.jpg"))
    path = shared / "models" / "mobilenet_v2_128_0.5_person.onnx"
    with Model(path, spec=toml, engine=engine, threads=1) as model:
        assert model.spec.input == InputSpec(height=128, width=128, dtype="float32", layout="NCHW")
        prediction = model.predict(photo)
    assert prediction.label == "not_person"
    assert prediction.logits.sum() == pytest.approx(1.0, abs=1e-3)


# Postprocessing.


def test_softmax_survives_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([1e4, 1e4 - np.log(3)])), [0.75, 0.25])


def test_temperature_softens() -> None:
    logits = np.array([0.0, np.log(4)])
    np.testing.assert_allclose(softmax(logits), [0.2, 0.8])
    np.testing.assert_allclose(softmax(logits, 2.0), [1 / 3, 2 / 3])


def test_probabilities_pass_as_they_are(tiny_spec: ModelSpec) -> None:
    output = np.array([[0.5, 0.2, 0.1, 0.1, 0.1]], np.float32)
    np.testing.assert_array_equal(to_probabilities(output, replace(tiny_spec, output="probabilities")), output)
    assert not np.array_equal(to_probabilities(output, tiny_spec), output)


def test_of_equal_scores_the_first_label_wins() -> None:
    assert [score.label for score in top_scores(np.array([0.25, 0.5, 0.25]), ("a", "b", "c"))] == ["b", "a", "c"]


def test_an_output_of_another_length_is_refused(tiny_spec: ModelSpec) -> None:
    with pytest.raises(ContractMismatchError, match="5 labels, got 4"):
        to_probabilities(np.zeros((1, 4), np.float32), tiny_spec)


@pytest.mark.parametrize("classes", [2, 8, 40, 41, 1000])
def test_the_likeliest_come_first_and_equal_ones_in_the_order_of_the_labels(classes: int) -> None:
    probabilities = np.random.default_rng(classes).integers(0, 7, classes) / 7
    labels = tuple(map(str, range(classes)))
    wanted = sorted(range(classes), key=lambda index: (-probabilities[index], index))[:5]
    best = top_scores(probabilities, labels)
    assert [(score.label, score.score) for score in best] == [(str(index), probabilities[index]) for index in wanted]


@pytest.mark.parametrize("classes", [2, 8, 1000])
@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_softmax_is_its_formula_to_the_bit_and_leaves_the_logits_as_they_are(classes: int, temperature: float) -> None:
    logits = np.random.default_rng(classes).normal(0, 9, (3, classes)).astype(np.float32)
    before = logits.copy()
    exponents = np.exp(
        logits.astype(np.float64) / temperature - (logits.astype(np.float64) / temperature).max(1)[:, None]
    )
    np.testing.assert_array_equal(softmax(logits, temperature), exponents / exponents.sum(1)[:, None])
    np.testing.assert_array_equal(logits, before)
