"""`edgex demo`, typed as a newcomer types it, with a network too small to be good."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgex.demo.sign import SIGNS
from edgex_runtime.metadata.registry import read_spec

# 26 × 8 photos are enough for an int8 gate of 99 % to be decided; whether such a network passes it is left open.
SMALL = ["--train-per-class", "6", "--val-per-class", "26", "--epochs", "1", "--shots", "8"]
SMALL += ["--image-size", "48", "--width", "0.1", "--middle-blocks", "1"]
ARTIFACTS = [f"{kind} {precision}" for kind in ("onnx", "openvino", "tflite") for precision in ("fp32", "int8")]


@dataclass(frozen=True)
class Demo:
    """What one run printed and left."""

    out: Path
    code: int
    said: dict[str, Any]
    log: str


def run_demo(out: Path, *flags: str) -> Demo:
    command = [sys.executable, "-m", "edgex", "demo", "--json", "-o", str(out), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.stdout, done.stderr
    return Demo(out=out, code=done.returncode, said=json.loads(done.stdout), log=done.stderr)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return run_demo(tmp_path_factory.mktemp("demo") / "out", *SMALL)


def test_makes_all_six_and_no_fp32_file_differs_from_the_network(demo: Demo) -> None:
    verdicts = {entry["artifact"]: entry["status"] for entry in demo.said["artifacts"]}
    assert list(verdicts) == ARTIFACTS
    assert {verdicts[name] for name in ARTIFACTS if name.endswith("fp32")} == {"passed"}
    assert set(verdicts.values()) <= {"passed", "failed"}


def test_exit_code_is_that_of_the_gates(demo: Demo) -> None:
    failed = [entry for entry in demo.said["artifacts"] if entry["status"] == "failed"]
    assert demo.code == (5 if failed else 0)


def test_plays_the_whole_film_through_every_artifact_that_passed(demo: Demo) -> None:
    passed = [entry["artifact"] for entry in demo.said["artifacts"] if entry["status"] == "passed"]
    assert [run["artifact"] for run in demo.said["live"]] == passed
    frames = cv2.VideoCapture(demo.said["film"]).get(cv2.CAP_PROP_FRAME_COUNT)
    for run in demo.said["live"]:
        lines = [json.loads(line) for line in Path(run["results"]).read_text().splitlines()]
        assert [line["index"] for line in lines] == list(range(int(frames)))
        assert {line["label"] for line in lines} <= set(SIGNS)
        assert 0 < run["scored"] <= frames


def test_artifacts_carry_the_contract_of_the_drawn_set(demo: Demo) -> None:
    spec = read_spec(demo.out / "artifacts" / "signs-fp32.tflite")
    assert spec is not None
    assert (spec.labels, spec.resize.mode, spec.input.height) == (SIGNS, "crop", 48)
    assert Path(demo.said["report"]).read_text().startswith("<!doctype html>")


def test_video_and_picture_show_the_artifact_for_boards(demo: Demo) -> None:
    shown = any(run["artifact"] == "tflite int8" for run in demo.said["live"])
    assert (demo.said["video"] is not None) == shown
    if shown:
        assert cv2.imread(demo.said["picture"]).shape == (2 * (360 + 12), 4 * (480 + 12), 3)


@pytest.mark.slow
def test_the_demo_as_it_is_passes_every_gate_and_knows_the_film(tmp_path: Path) -> None:
    demo = run_demo(tmp_path / "out")
    assert {entry["status"] for entry in demo.said["artifacts"]} == {"passed"}
    assert demo.code == 0
    assert demo.said["reference_accuracy"] >= 0.85
    assert min(run["accuracy"] for run in demo.said["live"]) >= 0.75
