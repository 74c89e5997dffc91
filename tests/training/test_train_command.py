import dataclasses
import json
import shlex
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from edgex.cli.main import exit_code
from edgex.cli.train import command
from edgex.training.config import TrainConfig
from edgex.training.contract import command as command_line
from edgex_runtime.errors import BadInputError, DeviceUnavailableError


def test_every_setting_has_its_flag():
    flags = {parameter.name for parameter in command.params}

    assert flags == {field.name for field in dataclasses.fields(TrainConfig)} | {"as_json"}


def test_prints_the_checkpoint_on_stdout_and_the_next_command_on_stderr(photos, tmp_path):
    words = ["--data", str(photos), "-o", str(tmp_path / "run"), "--width", "0.05", "--middle-blocks", "0"]
    words += ["--image-size", "48", "--epochs", "1", "--batch-size", "16"]

    done = CliRunner().invoke(command, [*words, "--json"], catch_exceptions=False)

    answer = json.loads(done.stdout)
    assert answer["checkpoint"] == str(tmp_path / "run" / "shapes.safetensors")
    assert answer["images"] == 24
    assert "epoch 1: train loss" in done.stderr
    again = CliRunner().invoke(command, [*words, "--resume"], catch_exceptions=False)
    assert again.stdout == answer["checkpoint"] + "\n"
    assert f"convert-model {answer['checkpoint']}" in again.stderr
    assert "95 % interval" in again.stderr


def test_bad_input_ends_with_2_and_no_traceback(tmp_path):
    words = [sys.executable, "-m", "edgex", "train", "--data", str(tmp_path / "nothing"), "-o", str(tmp_path / "run")]

    done = subprocess.run(words, capture_output=True, text=True, timeout=120)

    assert done.returncode == 2
    assert "want a folder of photos" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_ends_with_6(photos, tmp_path):
    words = ["--data", str(photos), "-o", str(tmp_path / "run"), "--device", "gpu"]

    done = CliRunner().invoke(command, words)

    assert isinstance(done.exception, DeviceUnavailableError)
    assert exit_code(done.exception) == 6
    assert not (tmp_path / "run").exists()


def test_an_unknown_choice_is_a_usage_error():
    result = CliRunner().invoke(command, ["--data", "x", "--optimizer", "lion"])

    assert result.exit_code == 2
    assert "adamw" in result.output


@pytest.mark.parametrize("change", [{"epochs": 0}, {"lr": float("nan")}, {"val_share": 1.0}, {"optimizer": "lion"}])
def test_a_setting_out_of_range_is_named(change, photos):
    (name,) = change

    with pytest.raises(BadInputError, match=f"--{name.replace('_', '-')}: want"):
        TrainConfig(data=photos, **change)


def test_the_recorded_command_line_makes_the_same_config(photos):
    config = TrainConfig(data=photos, epochs=3, flip=False, resize="crop", name="with space").resolved()
    words = shlex.split(command_line(config))

    assert words[:2] == ["edgex", "train"]
    context = command.make_context("train", words[2:])
    context.params.pop("as_json")
    assert TrainConfig(**context.params) == config
