import dataclasses
import json
import shutil
from collections import Counter

import pytest

from edgex.training.split import check_classes, check_unchanged, make_split
from edgex_runtime.errors import BadInputError, DatasetError


def names(samples) -> list[str]:
    return [f"{sample.path.parent.name}/{sample.path.name}" for sample in samples]


def test_holds_out_the_same_share_of_every_class(photos):
    split = make_split(photos, val_share=0.25, seed=0)

    assert split.labels == ("cross", "ring", "square")
    assert Counter(sample.label for sample in split.val) == {0: 10, 1: 10, 2: 10}
    assert Counter(sample.label for sample in split.train) == {0: 30, 1: 30, 2: 30}
    assert not {s.sha256 for s in split.train} & {s.sha256 for s in split.val}


def test_the_seed_and_the_contents_alone_decide(photos, tmp_path):
    first = make_split(photos, val_share=0.2, seed=1)
    renamed = tmp_path / "renamed"
    shutil.copytree(photos, renamed)
    for path in sorted(renamed.rglob("*.png")):
        path.rename(path.with_name(f"photo-{hash(path.name) % 997}-{path.name}"))

    assert names(make_split(photos, val_share=0.2, seed=1).val) == names(first.val)
    assert names(make_split(photos, val_share=0.2, seed=2).val) != names(first.val)
    assert {s.sha256 for s in make_split(renamed, val_share=0.2, seed=1).val} == {s.sha256 for s in first.val}


def test_copies_of_a_photo_stay_in_one_fold(write, tmp_path):
    root = write(tmp_path / "data", 6)
    for path in sorted(root.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))

    split = make_split(root, val_share=0.3, seed=0)

    assert not {s.sha256 for s in split.train} & {s.sha256 for s in split.val}
    assert len(split.train) + len(split.val) == 36


def test_a_photo_in_both_folders_is_left_out_of_train_and_named(write, tmp_path):
    write(tmp_path / "train", 4, seed=1)
    write(tmp_path / "val", 2, seed=2)
    shutil.copy(tmp_path / "val" / "ring" / "000.png", tmp_path / "train" / "ring" / "double.png")

    split = make_split(tmp_path, val_share=0.2, seed=0)

    assert "ring/double.png" not in names(split.train)
    (left_out,) = split.left_out
    assert left_out.path.name == "double.png"
    assert left_out.why == "the same photo as val/ring/000.png in val"


def test_refuses_other_classes_in_val(write, tmp_path):
    write(tmp_path / "train", 2)
    write(tmp_path / "val", 2, kinds=("cross", "rings"))

    with pytest.raises(DatasetError, match=r"only in train: ring, square; only in val: rings"):
        make_split(tmp_path, val_share=0.2, seed=0)


def test_refuses_a_train_folder_without_val(write, tmp_path):
    write(tmp_path / "train", 2)

    with pytest.raises(DatasetError, match="val/ is missing"):
        make_split(tmp_path, val_share=0.2, seed=0)


def test_refuses_a_class_too_small_to_divide(write, tmp_path):
    root = write(tmp_path / "data", 2)
    (root / "ring" / "001.png").unlink()

    with pytest.raises(DatasetError, match="'ring': want 2 different photos"):
        make_split(root, val_share=0.2, seed=0)


def test_names_the_class_that_lost_all_its_photos(photos):
    split = make_split(photos, val_share=0.2, seed=0)
    bare = dataclasses.replace(split, val=tuple(sample for sample in split.val if sample.label != 2))

    with pytest.raises(DatasetError, match="in val, found none of square"):
        check_classes(bare)


def test_a_written_split_knows_when_the_data_has_changed(write, tmp_path):
    root = write(tmp_path / "data", 5)
    split = make_split(root, val_share=0.2, seed=0)
    written = tmp_path / "split.json"
    written.write_text(json.dumps(split.to_plain()))
    check_unchanged(make_split(root, val_share=0.2, seed=0), written)

    shutil.copy(root / "ring" / "000.png", root / "ring" / "new.png")

    with pytest.raises(BadInputError, match=r"ring/new\.png"):
        check_unchanged(make_split(root, val_share=0.2, seed=0), written)
