import dataclasses
import json
import logging

import cv2
import numpy as np
import pytest
import torch

from edgex.networks.checkpoint import load_deployed
from edgex.training.loop import train
from edgex_runtime.dataset import scan
from edgex_runtime.errors import DivergedError
from edgex_runtime.image import read_image
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.preprocess import to_input


@pytest.fixture(scope="module")
def trained(photos, tiny, tmp_path_factory):
    """One run that the tests below look at."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return train(tiny(photos, out, epochs=12, width=0.125, flip=True, color=0.1))


def test_learns_what_can_be_learnt(trained):
    first, last = trained.history[0], trained.history[-1]

    assert last.train_loss < 0.8 * first.train_loss
    assert trained.best.val_top1 >= 0.7  # Chance is 1/3.


def test_the_checkpoint_alone_gives_the_figures_of_its_evidence(trained):
    spec = read_spec(trained.checkpoint)
    val = scan(trained.val_folder)
    with torch.inference_mode():
        inputs = to_input([read_image(photo.path) for photo in val.files], spec)
        answers = load_deployed(trained.checkpoint)(torch.from_numpy(inputs)).argmax(1).tolist()

    right = sum(answer == photo.label for answer, photo in zip(answers, val.files, strict=True))
    assert spec.evidence[0].metrics["top1"] == pytest.approx(right / len(val))
    assert spec.evidence[0].images == len(val)


def test_the_contract_says_where_the_network_comes_from(trained, photos):
    spec = read_spec(trained.checkpoint)

    assert spec.labels == ("cross", "ring", "square")
    assert spec.resize.mode == "stretch"
    assert spec.golden is not None
    train_set, val_set = spec.provenance.datasets
    assert (train_set.role, train_set.count, val_set.role, val_set.count) == ("train", 96, "val", 24)
    assert val_set.fingerprint == scan(trained.val_folder).fingerprint() == spec.evidence[0].fingerprint
    assert train_set.fingerprint == scan(trained.train_folder).fingerprint()
    assert spec.provenance.command.startswith(f"edgex train --data {photos}")
    assert "torch" in spec.provenance.tools


def test_writes_a_line_an_epoch_the_split_the_log_and_two_pictures(trained):
    lines = [json.loads(line) for line in (trained.run / "metrics.jsonl").read_text().splitlines()]
    split = json.loads((trained.run / "split.json").read_text())

    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert lines[-1] == dataclasses.asdict(trained.history[-1])
    assert (len(split["train"]), len(split["val"])) == (96, 24)
    assert "epoch 12: train loss" in (trained.run / "train.log").read_text()
    for picture in ("curves.png", "confusion.png"):
        pixels = cv2.imread(str(trained.run / picture))
        assert pixels is not None
        assert np.ptp(pixels) > 100


def test_the_number_of_threads_changes_no_number(photos, tiny, tmp_path):
    runs = [train(tiny(photos, tmp_path / str(count), workers=count, epochs=1)).history[0] for count in (0, 3)]

    assert dataclasses.replace(runs[0], seconds=0) == dataclasses.replace(runs[1], seconds=0)


def test_training_leaves_the_callers_random_state_and_logger_alone(photos, tiny, tmp_path):
    torch.manual_seed(5)
    before, level = torch.get_rng_state(), logging.getLogger("edgex.training").level

    train(tiny(photos, tmp_path / "run", epochs=1, dropout=0.5))

    assert torch.equal(torch.get_rng_state(), before)
    assert logging.getLogger("edgex.training").level == level
    assert not logging.getLogger("edgex.training").handlers


def test_a_diverging_run_names_the_step(photos, tiny, tmp_path):
    config = tiny(photos, tmp_path / "run", lr=100.0, optimizer="sgd", clip_norm=0, warmup_epochs=0, epochs=30)

    with pytest.raises(DivergedError, match=r"is not finite at step \d+, at learning rate"):
        train(config)


@pytest.mark.parametrize("changes", [{"optimizer": "sgd", "ema": 0}, {"resize": "letterbox", "erase": 0.5}])
def test_other_settings_train_as_well(changes, photos, tiny, tmp_path):
    result = train(tiny(photos, tmp_path / "run", epochs=1, **changes))

    assert np.isfinite(result.best.val_loss)
