import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from edgex.training.loop import train
from edgex.training.state import load_state
from edgex_runtime.errors import BadInputError
from edgex_runtime.metadata.registry import read_spec

SCRIPT = Path(__file__).with_name("killed_run.py")


def in_a_process(*words: object) -> int:
    # One thread: sums are bit-equal only when they are split alike.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, SCRIPT, *map(str, words)], env=environment, timeout=120).returncode


def numbers(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory) -> Path:
    """A run that nobody killed, and beside it two that were: amid an epoch, and between an epoch and its state."""
    folder = tmp_path_factory.mktemp("runs")
    mid, end = folder / "mid", folder / "end"
    # 96 photos are learnt from and 24 measured on: 120 done is after the last measurement and before anything is saved.
    killed = in_a_process(photos, folder / "whole", "never", ",", photos, mid, "3:40")
    assert killed == -signal.SIGKILL
    killed = in_a_process(photos, mid, "never", "--resume", ",", photos, end, "2:120")
    assert killed == -signal.SIGKILL
    assert len(numbers(end)) == 1
    assert in_a_process(photos, end, "never", "--resume") == 0
    return folder / "whole"


@pytest.mark.parametrize("killed", ["mid", "end"])
def test_a_killed_run_goes_on_to_the_same_numbers(whole, killed):
    other = whole.with_name(killed)

    assert numbers(other) == numbers(whole)
    assert len(numbers(other)) == 4
    ours, theirs = (load_file(run / "net.safetensors") for run in (whole, other))
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
    evidence = [read_spec(run / "net.safetensors").evidence for run in (whole, other)]
    assert evidence[0] == evidence[1]


def test_nothing_half_written_stays(whole):
    for run in (whole, whole.with_name("mid"), whole.with_name("end")):
        assert not list(run.rglob(".*.tmp"))
        assert len(list((run / "state").iterdir())) == 2  # The state, and the best epoch's checkpoint.


@pytest.fixture(scope="module")
def begun(photos, tiny, tmp_path_factory):
    config = tiny(photos, tmp_path_factory.mktemp("begun") / "run", epochs=1)
    train(config)
    return dataclasses.replace(config, resume=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"lr": 0.5}, "--lr"), ({"flip": False}, "--flip was True"), ({"epochs": 9}, "--epochs was 1 and is 9")],
)
def test_refuses_to_resume_with_other_settings(begun, change, named):
    with pytest.raises(BadInputError, match=named):
        train(dataclasses.replace(begun, **change))


def test_refuses_to_resume_with_other_photos(begun, write, tmp_path):
    with pytest.raises(BadInputError, match="new, gone or changed"):
        train(dataclasses.replace(begun, data=write(tmp_path / "other", 40, seed=99)))


def test_more_threads_are_no_other_settings(begun):
    assert len(train(dataclasses.replace(begun, workers=0)).history) == 1


def test_refuses_a_taken_folder_and_an_empty_one(begun, tmp_path):
    with pytest.raises(BadInputError, match="holds a run already"):
        train(dataclasses.replace(begun, resume=False))
    with pytest.raises(BadInputError, match="holds no run"):
        train(dataclasses.replace(begun, out=tmp_path / "nothing"))


def test_a_foreign_file_is_no_state(begun):
    with pytest.raises(BadInputError, match="want the state of a training run"):
        load_state(begun.out / "shapes.safetensors")
