"""`edgex bench`: figures of files in turns, and what is said of how far they may be believed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import edgex_devices
from edgex.cli.main import edgex
from edgex_devices.tuning import rounds as rounds_module
from edgex_devices.tuning.bench import BenchConfig, bench, compare, summarise, unsteady
from edgex_devices.tuning.candidate import Candidate
from edgex_devices.tuning.measure import Answer, ReleaseTask, Sample, Task
from edgex_devices.tuning.tuned import Tuned, machine_fingerprint, save_tuned
from edgex_runtime.errors import ModelFileError
from edgex_runtime.metadata.registry import artifact_sha256

TINY = Path(edgex_devices.__file__).with_name("tiny")
ONNX, TFLITE = TINY / "tiny.onnx", TINY / "tiny-int8.tflite"
QUICK = ("--rounds", 2, "--seconds", 0.02, "--frame", "64x48")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def sample(*frames: float, engine: str = "onnxruntime") -> Sample:
    return Sample(
        candidate=Candidate(model="m.onnx", engine=engine),
        frame_ms=frames,
        inference_ms=tuple(ms / 2 for ms in frames),
        cpu_ms=frames[0],
        resident_mb=80.0,
        peak_mb=90.0,
        start_s=1.0,
        celsius=(40.0, 41.0),
        ran_on="cpu",
        engine_version="1",
    )


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(edgex, list(map(str, arguments)), standalone_mode=False)


def test_real_files_are_measured_in_one_run_and_held_to_the_fastest() -> None:
    result = run("bench", ONNX, TFLITE, *QUICK, "--json")
    assert result.return_value == 0, result.exception
    rows = json.loads(result.stdout)["rows"]
    assert {row["candidate"]["engine"] for row in rows} == {"onnxruntime", "tflite"}
    first, second = (row["figures"] for row in rows)
    assert first["predict_ms"]["median"] <= second["predict_ms"]["median"]
    for figures in (first, second):
        assert 0 < figures["engine_ms"]["median"] < figures["predict_ms"]["median"]
        assert figures["predict_ms"]["median"] <= figures["predict_ms"]["p90"]
        assert 30 < figures["resident_mb"] <= figures["peak_mb"]
        assert figures["cpu_ms"] > 0
        assert figures["rounds"] == 2
    assert rows[0]["ratio"] is None
    assert rows[1]["ratio"]["least"] <= rows[1]["ratio"]["median"] <= rows[1]["ratio"]["most"]


def test_a_file_that_is_not_there_ends_it_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        bench(BenchConfig(models=(ONNX, tmp_path / "gone.onnx")))


def test_runs_a_file_as_live_would_run_it_here_tuned_or_as_it_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    best = Candidate(model="elsewhere.onnx", engine="openvino", device="cpu", threads=1)
    digest, machine = artifact_sha256(ONNX), machine_fingerprint()
    save_tuned(
        Tuned(artifact=digest, machine=machine, best=best, is_choice=True, table=(), wanted="the fastest", date="now")
    )
    tasks: list[Task] = []

    def planted(task: Task) -> Answer:
        tasks.append(task)
        return Answer(sample=replace(sample(1.0), candidate=task.candidate))

    monkeypatch.setattr(rounds_module, "run_apart", planted)
    config = BenchConfig(models=(ONNX,), rounds=1)
    assert bench(config).rows[0].is_tuned
    assert tasks[-1].candidate == replace(best, model=str(ONNX))
    assert not bench(replace(config, threads=2)).rows[0].is_tuned
    assert tasks[-1].candidate == Candidate(model=str(ONNX), engine="onnxruntime", device="auto", threads=2)


def test_files_are_compared_round_by_round() -> None:
    """The machine was twice as slow in the second round: the files' relation is what it was."""
    ratio = compare([sample(12.0), sample(24.0), sample(12.0)], [sample(10.0), sample(20.0), sample(10.0)])
    assert (ratio.least, ratio.median, ratio.most) == pytest.approx((1.2, 1.2, 1.2))
    assert ratio.is_certain
    assert not compare([sample(9.0), sample(12.0)], [sample(10.0), sample(10.0)]).is_certain


def test_rounds_become_medians_ninetieths_and_a_spread() -> None:
    figures = summarise([sample(1, 2, 3), sample(4, 5, 6), sample(7, 8, 9)])
    assert (figures.predict_ms.median, figures.predict_ms.spread, figures.engine_ms.median) == (5, 6, 2.5)
    assert figures.predict_ms.p90 == pytest.approx(8.2)
    assert (figures.rounds, figures.frames, figures.fps, figures.celsius) == (3, 9, 200, (40, 41))
    assert unsteady([figures]) == [
        "rounds of the same file differ by up to 120%: believe the comparison, not the milliseconds"
    ]
    assert unsteady([summarise([sample(10.0), sample(11.0)])]) == []


def test_who_was_not_slower_in_every_round_is_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"tiny.onnx": [10.0, 10.0, 10.0], "tiny-int8.onnx": [9.0, 12.0, 12.0], "tiny.xml": [20.0, 21.0, 22.0]}

    def planted(task: Task) -> Answer:
        return Answer(sample=replace(sample(times[Path(task.candidate.model).name].pop(0)), candidate=task.candidate))

    monkeypatch.setattr(rounds_module, "run_apart", planted)
    result = run("bench", TINY / "tiny.onnx", TINY / "tiny-int8.onnx", TINY / "tiny.xml", "--rounds", 3)
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip().startswith("tiny")}
    assert "as fast (0.90–1.20)" in lines["tiny-int8.onnx"]
    assert "2.10 × (2.00–2.20)" in lines["tiny.xml"]
    assert "×" not in lines["tiny.onnx"]


def test_a_file_that_ends_its_process_is_a_line_and_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(task: Task) -> Answer:
        if task.candidate.engine == "tflite":
            return Answer(why="its process ended with SIGILL")
        return Answer(sample=replace(sample(1.0), candidate=task.candidate))

    monkeypatch.setattr(rounds_module, "run_apart", planted)
    result = run("bench", ONNX, TFLITE)
    assert result.return_value == 3
    assert "not measured: tiny-int8.tflite by tflite on auto: its process ended with SIGILL" in result.stdout
    assert "tiny.onnx" in result.stdout


def test_what_an_installed_release_runs_is_read_from_its_folder(tmp_path: Path) -> None:
    from edgex_devices.agent.config import CONFIG, AppConfig

    config = AppConfig(model="model/a.onnx", source="0", python="3.11", spec="model/s.toml", threads=3)
    (tmp_path / CONFIG).write_bytes(config.to_json())
    task = ReleaseTask(folder=str(tmp_path), width=8, height=6, seconds=1).task()
    assert task.candidate == Candidate(model=f"{tmp_path}/model/a.onnx", engine="onnxruntime", device="auto", threads=3)
    assert task.spec == f"{tmp_path}/model/s.toml"
