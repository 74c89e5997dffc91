"""What falls short is named, stands under rejected/, and says so itself."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgex_converters.config import QuantizeConfig
from edgex_converters.pipeline import convert
from edgex_runtime.errors import AccuracyGateError, DatasetError, ParityError, StageError
from edgex_runtime.metadata.registry import read_spec
from edgex_runtime.spec import Evidence


class OtherWhenExported(nn.Module):
    """A network whose exporters see another branch than eager PyTorch: the parity fault that nobody notices."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        return logits.flip(1) if torch.compiler.is_compiling() else logits


class Unexportable(nn.Module):
    """A network whose control flow depends on its data."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits if logits.sum().item() > 0 else logits + 1


class Watcher:
    def begin(self, step: str) -> None: ...
    def advance(self, done: int, total: int) -> None: ...
    def finish(self, outcome: object) -> None: ...


def convert_again(made, out: Path, network: nn.Module | None = None, **changes):
    source = made.source if network is None else replace(made.source, network=network.eval())
    config = replace(made.config, out=out, **changes)
    return convert(source, config, Watcher())


def run_cli(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgex", "convert", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_an_export_with_other_answers_fails_parity_and_stops_what_stands_on_it(made, tmp_path: Path) -> None:
    conversion = convert_again(
        made, tmp_path, OtherWhenExported(made.source.network.get()), formats=("onnx",), precisions=("fp32", "int8")
    )
    exported, quantised = conversion.outcomes
    assert exported.status == "failed"
    assert "logits differ" in exported.why
    assert (quantised.status, quantised.path) == ("broken", None)
    assert "starts from onnx fp32, which failed" in quantised.why
    spec = read_spec(tmp_path / "rejected" / "colours-fp32.onnx")
    assert spec is not None
    assert not spec.evidence[-1].passed
    assert not (tmp_path / "colours-fp32.onnx").exists()


def test_a_source_that_fell_short_itself_is_told(made, tmp_path: Path) -> None:
    learned = Evidence(
        stage="train --qat", metrics={"top1": 0.9}, images=240, fingerprint="0", gate="g", passed=False, why="too low"
    )
    source = replace(made.source, spec=replace(made.source.spec, evidence=(learned,)))
    config = replace(made.config, out=tmp_path, formats=("onnx",), precisions=("fp32",))
    conversion = convert(source, config, Watcher())
    (warning,) = conversion.warnings
    assert "own gate of train --qat did not hold (too low)" in warning
    assert [item.passed for item in read_spec(tmp_path / "colours-fp32.onnx").evidence] == [False, True]


def test_parity_alone_is_a_parity_error(made, tmp_path: Path) -> None:
    network = OtherWhenExported(made.source.network.get())
    conversion = convert_again(made, tmp_path, network, formats=("onnx",), precisions=("fp32",), calibration=None)
    assert isinstance(conversion.failure(), ParityError)


def test_a_network_that_cannot_be_exported_names_the_stage(made, tmp_path: Path) -> None:
    network = Unexportable(made.source.network.get())
    conversion = convert_again(made, tmp_path, network, formats=("onnx",), precisions=("fp32",), calibration=None)
    failure = conversion.failure()
    assert isinstance(failure, StageError)
    assert "export_onnx broke" in str(failure)
    assert list(tmp_path.iterdir()) == []


def test_eight_bit_weights_are_refused_on_every_machine(made, tmp_path: Path) -> None:
    """They saturate only on CPUs without VNNI: the file says so, whatever CPU the test runs on."""
    conversion = convert_again(
        made,
        tmp_path,
        formats=("onnx", "openvino"),
        precisions=("int8",),
        quantize=QuantizeConfig(calibration_images=32, weight_bits=8),
    )
    assert all("saturate on x86 CPUs without VNNI" in outcome.why for outcome in conversion.outcomes)
    assert isinstance(conversion.failure(), AccuracyGateError)
    assert {path.name for path in tmp_path.iterdir()} == {"rejected"}


def test_a_newer_verdict_replaces_an_older_file(made, tmp_path: Path) -> None:
    for bits in (7, 8):
        quantize = QuantizeConfig(calibration_images=32, weight_bits=bits)
        convert_again(made, tmp_path, formats=("onnx",), precisions=("int8",), quantize=quantize)
    assert not (tmp_path / "colours-int8.onnx").exists()
    assert (tmp_path / "rejected" / "colours-int8.onnx").exists()


def test_refuses_calibration_photos_that_also_judge(made, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="also stand in the evaluation set"):
        convert_again(made, tmp_path, calibration=made.config.evaluation)
    assert list(tmp_path.iterdir()) == []


def test_refuses_too_few_calibration_photos(made, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for label in made.source.spec.labels:
        (few / label).mkdir(parents=True)
        photo = made.photos / "train" / label / "000.png"
        (few / label / "0.png").write_bytes(photo.read_bytes())
    with pytest.raises(DatasetError, match="want 32 photos or more, got 4"):
        convert_again(made, tmp_path / "out", calibration=few)


def test_refuses_evaluation_folders_that_are_no_labels(made, tmp_path: Path) -> None:
    misspelt = tmp_path / "photos"
    for label in ("blue", "gren"):
        (misspelt / label).mkdir(parents=True)
        (misspelt / label / "0.png").write_bytes((made.photos / "val" / "blue" / "000.png").read_bytes())
    with pytest.raises(DatasetError, match="gren"):
        convert_again(made, tmp_path / "out", evaluation=misspelt, precisions=("fp32",), calibration=None)


def test_command_prints_only_json_on_stdout(made, tmp_path: Path) -> None:
    done = run_cli(made.checkpoint, "--to", "onnx", "--precision", "fp32", "-o", tmp_path, "--json", "--threads", 1)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    # Without --eval the checkpoint's own val folder judges.
    assert report["evaluation"]["path"] == str(made.photos / "val")
    assert report["evaluation"]["images"] == 240
    assert (tmp_path / "report.html").is_file()


def test_command_exits_with_5_when_too_few_photos_judge(made, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for label in made.source.spec.labels:
        (few / label).mkdir(parents=True)
        (few / label / "0.png").write_bytes((made.photos / "val" / label / "000.png").read_bytes())
    args = (made.checkpoint, "--to", "onnx", "--precision", "int8", "--calib", made.photos, "--eval", few)
    done = run_cli(*args, "-o", tmp_path / "out", "--calib-images", 32)
    assert done.returncode == 5, done.stderr
    assert "4 evaluation images cannot decide a gate of 99.0%: give 100 or more" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere.safetensors"], "no such file"),
        (["CHECKPOINT", "--precision", "int8"], "--calib DIR"),
        (["CHECKPOINT", "--precision", "int4"], "want fp32, fp16, int8"),
        (["CHECKPOINT", "--resize", "crop"], "its own contract says"),
        (["CHECKPOINT", "--eval", "/nowhere"], "nothing of that name"),
    ],
)
def test_command_exits_with_2_for_bad_input(made, tmp_path: Path, args: list[str], message: str) -> None:
    words = [str(made.checkpoint) if word == "CHECKPOINT" else word for word in args]
    done = run_cli(*words, "--to", "onnx", *([] if "--precision" in words else ["--precision", "fp32"]), "-o", tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
