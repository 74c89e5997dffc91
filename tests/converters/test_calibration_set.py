"""A folder that must not calibrate is refused before any stage, by the file that shows it; a doubtful one is told."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgex_converters import saved_tensor
from edgex_converters.calibration import CalibrationSet, choose
from edgex_converters.config import QuantizeConfig
from edgex_runtime.dataset import scan
from edgex_runtime.errors import DatasetError
from edgex_runtime.image import read_image
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

LABELS = ("blue", "green", "red", "yellow")
SPEC = ModelSpec(name="colours", labels=LABELS, input=InputSpec(height=64, width=64), resize=Resize(mode="crop"))


@pytest.fixture
def calib(photos: Path, tmp_path: Path) -> Path:
    """A copy of the 64 training photos, to be spoilt."""
    return Path(shutil.copytree(photos / "train", tmp_path / "calib"))


def prepare(folder: Path, photos: Path, *, seed: int = 0) -> CalibrationSet:
    config = QuantizeConfig(calibration_images=48, seed=seed)
    return choose(folder, scan(photos / "val"), SPEC, config)


def judge(folder: Path, photos: Path, *, seed: int = 0) -> tuple[str, ...]:
    return prepare(folder, photos, seed=seed).judge()


def spoil(folder: Path, picture: np.ndarray, *, every: int = 1) -> None:
    for path in sorted(folder.rglob("*.png"))[::every]:
        # A pixel apart, or they would be copies of one photo.
        picture = picture.copy()
        picture[0, 0] = np.frombuffer(path.stem.encode()[:3], np.uint8) % 2
        Image.fromarray(picture).save(path)


def convert(checkpoint: Path, calib: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "edgex", "convert", checkpoint, "--to", "onnx", "--precision", "int8"]
    command += ["--calib", calib, "--calib-images", "48", "--threads", "1", "-o", out, "--json"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)


def test_a_sound_set_is_taken_without_a_word(calib: Path, photos: Path) -> None:
    calibration = prepare(calib, photos)
    assert calibration.judge() == ()
    assert calibration.images().shape == (48, 64, 64, 3)
    assert (calibration.reference.role, calibration.reference.count) == ("calibration", 48)
    assert [sum(path.parent.name == label for path in calibration.paths) for label in LABELS] == [12] * 4


def test_the_seed_decides_which_and_the_fingerprint_says_so(calib: Path, photos: Path) -> None:
    first, again, other = (prepare(calib, photos, seed=seed) for seed in (0, 0, 1))
    assert first.paths == again.paths != other.paths
    assert first.reference == again.reference
    assert first.reference.fingerprint != other.reference.fingerprint


def test_refuses_a_folder_without_images(tmp_path: Path, photos: Path) -> None:
    for label in LABELS:
        (tmp_path / label).mkdir()
    with pytest.raises(DatasetError, match=r"calibration: .*blue: want a picture of class 'blue', found none"):
        prepare(tmp_path, photos)


def test_refuses_one_class_of_several(calib: Path, photos: Path) -> None:
    for label in LABELS[1:]:
        shutil.rmtree(calib / label)
    with pytest.raises(DatasetError, match=r"calibration: .*want two classes or more, found only 'blue'"):
        judge(calib, photos)


def test_warns_of_a_class_without_photos(calib: Path, photos: Path) -> None:
    shutil.rmtree(calib / "red")
    (warning,) = judge(calib, photos)
    assert "1 of the model's 4 classes" in warning
    assert warning.endswith("red")


def test_refuses_copies_of_a_few_photos(calib: Path, photos: Path) -> None:
    for path in calib.rglob("*.png"):
        path.write_bytes((calib / path.parent.name / "000.png").read_bytes())
    with pytest.raises(DatasetError, match=r"want 32 different photos or more, got 4 among 48 .*000\.png 12 times"):
        judge(calib, photos)


NOISE = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (NOISE, "are noise"),
        (np.full((90, 90, 3), 6, np.uint8), "are black"),
        (np.full((90, 90, 3), 180, np.uint8), "are of one colour"),
        ((NOISE > 127).astype(np.uint8), "hold no values but 0 and 1: tensors that were normalised"),
    ],
)
def test_refuses_what_is_no_photo_and_names_the_first(
    calib: Path, photos: Path, picture: np.ndarray, words: str
) -> None:
    spoil(calib, picture)
    with pytest.raises(DatasetError, match=rf"got 48 of 48: 48 {words}.*blue/0\d\d\.png first: .*give"):
        judge(calib, photos)


def test_a_single_black_frame_is_a_warning_that_names_it(calib: Path, photos: Path) -> None:
    spoil(calib, np.full((90, 90, 3), 6, np.uint8), every=32)
    warnings = [warning for seed in range(3) for warning in judge(calib, photos, seed=seed)]
    assert warnings
    assert all("are black" in warning and "/000.png" in warning for warning in warnings)


def test_refuses_arrays_in_the_place_of_photos(calib: Path, photos: Path) -> None:
    for path in calib.rglob("*.png"):
        np.save(path.with_suffix(".npy"), read_image(path).astype(np.float32) / 127.5 - 1)
        path.unlink()
    with pytest.raises(
        DatasetError, match=r"64 saved tensors beside 0 pictures, .*000\.npy \(an array, float32 .*normalised already"
    ):
        judge(calib, photos)


def test_refuses_arrays_beside_photos_and_warns_of_one(calib: Path, photos: Path) -> None:
    first = calib / "blue" / "features.npy"
    np.save(first, np.zeros((3, 64, 64), np.float32))
    (warning,) = judge(calib, photos)
    assert f"1 saved tensors among the photos are not read, {first}" in warning
    for index in range(12):
        shutil.copy(first, calib / "red" / f"{index}.npy")
    with pytest.raises(DatasetError, match="13 saved tensors beside 64 pictures"):
        judge(calib, photos)


@pytest.mark.parametrize("channels", [1, 3])
def test_refuses_float_tiffs_by_name(calib: Path, photos: Path, channels: int) -> None:
    import cv2

    for path in calib.rglob("*.png"):
        pixels = read_image(path)[:, :, :channels].squeeze()
        assert cv2.imwrite(str(path.with_suffix(".tiff")), pixels.astype(np.float32) / 255)
        path.unlink()
    with pytest.raises(DatasetError, match=r"\.tiff: want a photo, found an array, float32 .* in a TIFF: .*give"):
        judge(calib, photos)


def test_a_file_that_is_no_array_is_still_described(tmp_path: Path) -> None:
    for name, content in (("a.npy", b""), ("b.npy", b"\x93NUMPY junk"), ("c.pt", b"PK")):
        (tmp_path / name).write_bytes(content)
        assert saved_tensor.describe(tmp_path / name)
    (tmp_path / "d.tif").write_bytes(b"II*\0 cut short")
    assert saved_tensor.describe(tmp_path / "d.tif") is None


def test_the_same_pixels_in_another_file_are_refused_before_any_stage(
    checkpoint: Path, photos: Path, calib: Path, tmp_path: Path
) -> None:
    for path in sorted((photos / "val" / "red").iterdir())[:16]:
        Image.open(path).save(calib / "red" / f"{path.stem}.bmp")
        (calib / "red" / path.name).unlink()
    done = convert(checkpoint, calib, tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert "have the very pixels of an evaluation photo" in done.stderr
    assert ".bmp those of" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_near_duplicates_reach_stderr_and_both_reports(
    checkpoint: Path, photos: Path, calib: Path, tmp_path: Path
) -> None:
    for path in sorted((photos / "val" / "red").iterdir())[:16]:
        Image.fromarray(read_image(path) // 8 * 7).save(calib / "red" / path.name)
    done = convert(checkpoint, calib, tmp_path / "out")
    report = json.loads(done.stdout)
    (warning,) = report["warnings"]
    assert "photos look like an evaluation photo" in warning
    assert f"{calib / 'red'}" in warning
    assert f"{photos / 'val' / 'red'}" in warning
    assert f"warning: {warning}" in done.stderr
    assert "look like an evaluation photo" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
