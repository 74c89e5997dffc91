import logging
import shutil

import numpy as np
import pytest

from edgex.training.folds import gather
from edgex.training.observer import Silent
from edgex.training.photos import Photos, shrink_for_crops
from edgex.training.prefetch import prefetch
from edgex.training.run_folder import RunFolder
from edgex.training.split import make_split
from edgex_runtime.errors import DatasetError
from edgex_runtime.image import read_image
from edgex_runtime.preprocess import resize
from edgex_runtime.spec import InputSpec, Resize


@pytest.fixture
def gathered(tiny, tmp_path):
    def run(data, **changes):
        config = tiny(data, tmp_path / "run", **changes).resolved()
        folder = RunFolder(root=tmp_path / "run", name="x")
        folder.open(resume=False, overwrite=True)
        return gather(config, folder, Silent()), folder

    return run


def test_an_unreadable_photo_is_named_counted_and_left_out(write, gathered, tmp_path, caplog):
    root = write(tmp_path / "data", 8)
    (root / "ring" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    caplog.set_level(logging.INFO, logger="edgex.training")

    folds, run = gathered(root)

    assert "torn.jpg" in caplog.text
    assert "1 unreadable" in caplog.text
    assert [item.path.name for item in folds.split.left_out] == ["torn.jpg"]
    assert "torn.jpg" in run.split.read_text()
    assert len(folds.train.samples) + len(folds.val.samples) == 24


def test_a_class_without_a_readable_photo_stops_before_training(write, gathered, tmp_path):
    root = write(tmp_path / "data", 4)
    for number, path in enumerate(sorted((root / "ring").iterdir())):
        path.write_bytes(f"not a photo {number}".encode())

    with pytest.raises(DatasetError, match="found none of ring"):
        gathered(root)


@pytest.mark.parametrize("kinds", [(), ("ring",)])
def test_an_empty_folder_and_one_class_only_stop_before_training(kinds, write, gathered, tmp_path):
    (tmp_path / "data").mkdir()
    root = write(tmp_path / "data", 3, kinds=kinds)

    with pytest.raises(DatasetError):
        gathered(root)


def test_val_photos_are_what_the_runtime_makes_of_them(photos, gathered):
    folds, _ = gathered(photos, resize="crop", crop_fraction=0.9)
    sample = folds.val.samples[3]

    want = resize(read_image(sample.path), InputSpec(height=48, width=48), Resize(mode="crop", crop_fraction=0.9))

    np.testing.assert_array_equal(folds.val.read(3), want)


def test_memory_changes_no_pixel(photos):
    samples = make_split(photos, val_share=0.2, seed=0).train[:6]
    kept, reread = (
        Photos(samples, lambda image: shrink_for_crops(image, size=32), budget_bytes=budget, workers=2)
        for budget in (10_000_000, 0)
    )
    for store in (kept, reread):
        store.verify(lambda _: None)

    assert kept.held_bytes > 0
    assert reread.held_bytes == 0
    for index in range(6):
        np.testing.assert_array_equal(kept.read(index), reread.read(index))


def test_only_large_photos_shrink():
    assert shrink_for_crops(np.zeros((400, 300, 3), np.uint8), size=100).shape == (153, 115, 3)
    assert shrink_for_crops(np.zeros((90, 300, 3), np.uint8), size=100).shape == (90, 300, 3)


def test_a_renamed_copy_is_found_as_a_double(write, gathered, tmp_path, caplog):
    write(tmp_path / "data" / "train", 4, seed=1)
    write(tmp_path / "data" / "val", 2, seed=2)
    shutil.copy(tmp_path / "data/val/ring/000.png", tmp_path / "data/train/ring/zz.png")
    caplog.set_level(logging.INFO, logger="edgex.training")

    folds, _ = gathered(tmp_path / "data")

    assert "zz.png: the same photo as val/ring/000.png" in caplog.text
    assert len(folds.train.samples) == 12


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_prefetch_keeps_the_order_and_hands_errors_on(workers):
    assert list(prefetch(lambda x: x * x, range(20), workers=workers)) == [x * x for x in range(20)]
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda x: 1 // x, [3, 2, 1, 0], workers=workers))
