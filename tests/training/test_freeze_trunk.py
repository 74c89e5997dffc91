import dataclasses
import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgex.networks.deploy import Deployed
from edgex.networks.xception import NORMALISE, XceptionConfig
from edgex.training.loop import train
from edgex.training.trunk import covered_blocks, divide, new_network
from edgex_runtime.errors import BadInputError, WeightsError

TINY = {"width": 0.05, "middle_blocks": 1, "image_size": 48}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Weights of a network of 7 classes, and the same without most of its last block."""
    folder = tmp_path_factory.mktemp("weights")
    network = new_network(XceptionConfig(classes=7, **TINY), seed=3)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items() if "num_batches" not in name}
    save_file(tensors, folder / "whole.safetensors")
    last = network.block_names[-1]
    kept = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(("head.", f"{last}.sepconv1.", f"{last}.sepconv2."))
    }
    save_file(kept, folder / "trunk.safetensors")
    return folder


@pytest.fixture
def frozen(tiny, photos, tmp_path, source):
    return tiny(
        photos, tmp_path / "run", weights=str(source / "trunk.safetensors"), freeze_trunk=True, epochs=3, **TINY
    )


def test_trains_what_the_weights_leave_open_and_nothing_else(frozen, source, caplog):
    caplog.set_level(logging.INFO, logger="edgex.training")

    result = train(frozen)

    before, after = load_file(source / "trunk.safetensors"), load_file(result.checkpoint)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) != name.startswith("block7."), name
    assert "frozen trunk: block1 to block6" in caplog.text
    assert "of block7 only a part is in the weights" in caplog.text
    assert "block7.sepconv1.depthwise.weight" in caplog.text
    assert "head.predictions.weight" in caplog.text
    assert result.history[-1].train_loss < result.history[0].train_loss


def test_the_frozen_halves_are_the_network(source):
    network = new_network(XceptionConfig(classes=3, **TINY), seed=0).eval()
    images = torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8)
    whole = Deployed(network, NORMALISE)(images)
    for missing in (["block7.sepconv1.depthwise.weight"], ["head.predictions.bias"], []):
        halves = divide(network, missing)
        torch.testing.assert_close(halves.tail(halves.trunk(images)), whole, rtol=0, atol=1e-5)  # Order of sums.
    assert halves.blocks == network.block_names


def test_full_weights_with_other_classes_leave_only_the_classifier_to_learn(frozen, source, caplog):
    caplog.set_level(logging.INFO, logger="edgex.training")
    config = dataclasses.replace(frozen, weights=str(source / "whole.safetensors"))

    result = train(config)

    before, after = load_file(source / "whole.safetensors"), load_file(result.checkpoint)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if not name.startswith("head."))
    assert after["head.predictions.weight"].shape[0] == 3
    assert "frozen trunk: block1 to block7" in caplog.text


def test_an_overwritten_run_takes_the_features_that_still_fit_and_no_others(frozen):
    train(frozen)
    (folder,) = (frozen.out / "features").iterdir()
    file = folder / "train.npy"
    stamp = file.stat().st_mtime_ns
    kept = np.load(file)

    train(dataclasses.replace(frozen, overwrite=True, lr=0.01))
    assert file.stat().st_mtime_ns == stamp

    train(dataclasses.replace(frozen, overwrite=True, resize="crop"))
    (other,) = (frozen.out / "features").iterdir()
    assert other != folder
    assert not np.array_equal(np.load(other / "train.npy"), kept)


def test_half_done_features_are_completed_to_the_same_values(frozen):
    train(frozen)
    (folder,) = (frozen.out / "features").iterdir()
    want = np.load(folder / "train.npy")
    notes = json.loads((folder / "plan.json").read_text())
    notes["rows_done"]["train"] = 64
    (folder / "plan.json").write_text(json.dumps(notes))
    file = np.load(folder / "train.npy", mmap_mode="r+")
    file[64:] = 0
    file.flush()

    train(dataclasses.replace(frozen, overwrite=True))

    np.testing.assert_array_equal(np.load(folder / "train.npy"), want)


def test_features_are_the_views_in_order_and_the_first_is_plain(frozen):
    train(dataclasses.replace(frozen, views=3))
    (folder,) = (frozen.out / "features").iterdir()
    train_rows, val_rows = (np.load(folder / f"{name}.npy") for name in ("train", "val"))

    assert (len(train_rows), train_rows.dtype) == (3 * 96, np.float16)
    assert (len(val_rows), val_rows.dtype) == (24, np.float32)
    assert np.abs(train_rows[:96].astype(float) - train_rows[96:192]).mean() > 1e-3


def test_refuses_weights_of_another_width_and_names_them(frozen):
    with pytest.raises(WeightsError, match=r"block1\.conv2\.weight.*--width"):
        train(dataclasses.replace(frozen, width=0.3))


def test_refuses_weights_that_are_not_there(frozen):
    with pytest.raises(WeightsError, match="found no file"):
        train(dataclasses.replace(frozen, weights="nowhere.safetensors"))


def test_refuses_to_freeze_random_weights(frozen):
    with pytest.raises(BadInputError, match="wants --weights"):
        dataclasses.replace(frozen, weights=None)


def test_only_whole_blocks_from_the_first_on_are_covered():
    network = new_network(XceptionConfig(classes=3, **TINY), seed=0)

    assert covered_blocks(network, ["block3.shortcut.weight", "head.predictions.weight"]) == ("block1", "block2")
    assert covered_blocks(network, ["block1.conv1.weight"]) == ()


def test_given_weights_are_a_start_for_the_whole_network(frozen, source):
    result = train(dataclasses.replace(frozen, freeze_trunk=False, epochs=1))

    before, after = load_file(source / "trunk.safetensors"), load_file(result.checkpoint)
    assert not torch.equal(before["block2.sepconv1.pointwise.weight"], after["block2.sepconv1.pointwise.weight"])
