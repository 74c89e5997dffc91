"""Tuning: what counts, who wins, what is said when nobody does, and what is kept."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import edgex_devices
from edgex.cli.main import edgex
from edgex_devices.facts import Facts
from edgex_devices.tuning import rounds as rounds_module
from edgex_devices.tuning import tuned as tuned_module
from edgex_devices.tuning.advice import advise
from edgex_devices.tuning.candidate import Candidate, candidates, unproved
from edgex_devices.tuning.limits import Limits
from edgex_devices.tuning.measure import Answer, Sample, Task
from edgex_devices.tuning.rounds import run_apart
from edgex_devices.tuning.tune import TuneConfig, choose, judge, summarise, tune
from edgex_devices.tuning.tuned import Figures, Row, load_tuned, tuned_folder
from edgex_runtime.engines.engine import EngineOptions
from edgex_runtime.errors import BadInputError, MissingExtraError, ModelFileError
from edgex_runtime.metadata.registry import artifact_sha256, read_spec, write_spec
from edgex_runtime.model import Model
from edgex_runtime.spec import Evidence, ModelSpec, NetworkRef

TINY = Path(edgex_devices.__file__).with_name("tiny")
PASSED = Evidence(stage="quantize_onnx", metrics={}, images=9, fingerprint="f", gate="accuracy ≥ 99 %", passed=True)
FAILED = replace(PASSED, passed=False, why="accuracy 80 %")
FAST = TuneConfig(models=(Path("m"),), limits=Limits(), threads=(1,), rounds=2, seconds=0.02, frame=(64, 48))


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def with_evidence(name: str, folder: Path, *evidence: Evidence) -> Path:
    path = Path(shutil.copy(TINY / name, folder / name))
    spec = read_spec(path)
    assert spec is not None
    write_spec(path, replace(spec, evidence=evidence))
    return path


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return with_evidence("tiny-int8.onnx", tmp_path, PASSED)


@pytest.fixture
def tflite(tmp_path: Path) -> Path:
    return with_evidence("tiny.tflite", tmp_path, PASSED)


def row(
    ms: float = 10.0, *, p95: float = 0.0, spread: float = 0.0, mb: float = 100.0, why_not: str = "", **changes: object
) -> Row:
    figures = Figures(
        frame_ms=ms,
        p95_ms=p95 or ms,
        spread_ms=spread,
        inference_ms=ms * 0.9,
        peak_mb=mb,
        start_s=1.0,
        rounds=3,
        frames=100,
        ran_on="cpu",
        engine_version="1",
    )
    candidate = Candidate(**{"model": "m.onnx", "engine": "onnxruntime", "threads": 2, **changes})  # type: ignore[arg-type]
    return Row(candidate=candidate, precision="int8", figures=figures, why_not=why_not)


def planted_sample(*frames: float, mb: float = 90.0, model: str = "m.onnx", engine: str = "onnxruntime") -> Sample:
    return Sample(
        candidate=Candidate(model=model, engine=engine),
        frame_ms=frames,
        inference_ms=(frames[0],) * len(frames),
        cpu_ms=frames[0],
        resident_mb=mb,
        peak_mb=mb,
        start_s=1,
        celsius=(None, None),
        ran_on="cpu",
        engine_version="1",
    )


def test_measures_every_way_keeps_the_fastest_and_finds_it_again(onnx: Path, tflite: Path) -> None:
    seen: list[str] = []
    tuning = tune(replace(FAST, models=(onnx, tflite)), lambda done, total, name: seen.append(f"{done}/{total} {name}"))
    assert {(item.candidate.engine, Path(item.candidate.model).name) for item in tuning.rows} == {
        ("onnxruntime", "tiny-int8.onnx"),
        ("openvino", "tiny-int8.onnx"),
        ("tflite", "tiny.tflite"),
    }
    for item in tuning.rows:
        assert item.figures is not None
        assert item.figures.frame_ms > item.figures.inference_ms > 0
        assert item.figures.p95_ms >= item.figures.frame_ms * 0.5
        assert item.figures.peak_mb > 30
        assert item.figures.ran_on == "cpu"
    assert seen[0].startswith("0/6 ")
    kept = {path: load_tuned(path) for path in (onnx, tflite)}
    assert all(kept.values())
    assert [path for path, item in kept.items() if item and item.is_choice] == [
        Path(tuning.choice.model) if tuning.choice else None
    ]
    found = kept[tflite]
    assert found is not None
    assert (found.engine, found.options) == ("tflite", EngineOptions(device="cpu", threads=1))
    assert found.table == tuning.rows


def test_a_file_that_failed_its_gate_is_not_chosen_however_fast(onnx: Path, tmp_path: Path) -> None:
    failed = with_evidence("tiny.tflite", tmp_path, PASSED, FAILED)
    tuning = tune(replace(FAST, models=(failed, onnx), engines=("tflite", "onnxruntime")))
    assert tuning.choice is not None
    assert tuning.choice.model == str(onnx)
    (left,) = [item for item in tuning.rows if item.figures is None]
    assert left.why_not == "it failed its gate (quantize_onnx): accuracy 80 %"
    assert load_tuned(failed) is None


def test_a_file_without_evidence_does_not_count() -> None:
    spec = read_spec(TINY / "tiny.onnx")
    assert "no evidence" in unproved(spec)
    assert "no contract" in unproved(None)
    assert spec is not None
    assert unproved(replace(spec, evidence=(PASSED,))) == ""


def test_another_file_another_engine_version_or_a_damaged_record_is_not_used(
    onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(replace(FAST, models=(onnx,), engines=("onnxruntime",), rounds=1))
    assert load_tuned(onnx) is not None
    spec = read_spec(onnx)
    assert spec is not None
    with monkeypatch.context() as patch:
        patch.setattr(tuned_module, "_version", lambda package: "99")
        assert load_tuned(onnx) is None
    (record,) = tuned_folder().iterdir()
    whole = record.read_text()
    record.write_text(whole[:100])
    assert load_tuned(onnx) is None
    record.write_text(whole.replace('"schema": 1', '"schema": 2'))
    assert load_tuned(onnx) is None
    record.write_text(whole)
    assert load_tuned(onnx) is not None
    write_spec(onnx, replace(spec, name="other"))
    assert load_tuned(onnx) is None
    other = artifact_sha256(onnx)
    record.rename(record.with_name(other + record.name[len(other) :]))
    assert load_tuned(onnx) is None


def test_the_fastest_that_fits_is_chosen() -> None:
    limits = Limits(max_latency_ms=12, memory_mb=150)
    rows = [
        judge(item, limits)
        for item in (
            row(5, mb=200, engine="openvino"),
            row(8, p95=15, engine="tflite"),
            row(10),
            row(11, threads=1),
        )
    ]
    chosen = choose(rows)
    assert chosen is not None
    assert chosen.figures is not None
    assert chosen.figures.frame_ms == 10
    assert [item.why_not for item in rows] == ["200 MB, wanted are 150", "95 % within 15.0 ms, wanted are 12", "", ""]


@pytest.mark.parametrize(
    ("other", "chosen_ms"),
    [
        (row(10.5, spread=1.0, threads=1), 10.5),
        (row(10.5, spread=0.1, threads=1), 10.0),
        (row(14.0, spread=9.0, threads=1), 10.0),
        (row(10.5, spread=1.0, threads=2, spin=True), 10.0),
    ],
)
def test_within_chance_the_lesser_strain_wins(other: Row, chosen_ms: float) -> None:
    chosen = choose([row(10.0, spread=0.1), other])
    assert chosen is not None
    assert chosen.figures is not None
    assert chosen.figures.frame_ms == chosen_ms


def test_calm_threads_win_over_spinning_ones_that_are_as_fast() -> None:
    chosen = choose([row(10.0, spread=1.0, spin=True), row(10.5, spread=0.1)])
    assert chosen is not None
    assert not chosen.candidate.spin


def test_rounds_go_forth_and_back(onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    def planted(task: Task) -> Answer:
        turns.append(task.candidate.engine)
        return Answer(sample=planted_sample(10.0))

    monkeypatch.setattr(rounds_module, "run_apart", planted)
    tune(replace(FAST, models=(onnx,), rounds=3))
    assert turns == ["onnxruntime", "openvino", "openvino", "onnxruntime", "onnxruntime", "openvino"]


def test_what_is_far_behind_after_one_round_is_measured_no_more(onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The times are planted: openvino takes three times as long as onnxruntime, whose second round is a slow one."""
    turns: list[str] = []

    def planted(task: Task) -> Answer:
        engine = task.candidate.engine
        turns.append(engine)
        base = 30.0 if engine == "openvino" else 10.0 * turns.count(engine) ** 3
        return Answer(sample=planted_sample(base, base + 1))

    monkeypatch.setattr(rounds_module, "run_apart", planted)
    tuning = tune(replace(FAST, models=(onnx,), rounds=3))
    assert turns == ["onnxruntime", "openvino", "onnxruntime", "onnxruntime"]
    assert tuning.choice is not None
    assert tuning.choice.engine == "onnxruntime"
    (left,) = [item for item in tuning.rows if item.candidate.engine == "openvino"]
    assert left.why_not == "left out after round 1: 3.0 × slower than this file's fastest"


def test_nobody_is_chosen_where_nobody_fits() -> None:
    assert choose([row(why_not="too slow"), Row(candidate=row().candidate, precision="int8", why_not="SIGILL")]) is None


def test_min_fps_is_held_against_the_median_and_latency_against_the_95th() -> None:
    assert not Limits(min_fps=90, max_latency_ms=20).excesses(row(10, p95=19).figures)  # type: ignore[arg-type]
    assert list(Limits(min_fps=101).excesses(row(10).figures)) == ["100.0 fps, wanted are 101"]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory_mb: want more than 0"):
        Limits(memory_mb=0)


def test_rounds_become_medians_spread_and_percentile() -> None:
    figures = summarise([planted_sample(1, 2, 3), planted_sample(4, 5, 6, mb=95.0), planted_sample(7, 8, 9)])
    assert (figures.frame_ms, figures.spread_ms, figures.peak_mb) == (5, 6, 95)
    assert (figures.rounds, figures.frames) == (3, 9)
    assert figures.p95_ms == pytest.approx(8.6)
    assert figures.fps == 200


def spec_of(side: int = 299, width: float | None = 1.0) -> ModelSpec:
    spec = read_spec(TINY / "tiny.onnx")
    assert spec is not None
    network = None if width is None else NetworkRef(family="xception", config={"width": width})
    return replace(spec, input=replace(spec.input, height=side, width=side), network=network)


def test_advice_names_the_nearest_and_estimates_a_smaller_input_and_network() -> None:
    limits = Limits(min_fps=20)
    rows = [row(100.0), row(200.0, engine="openvino")]
    advice = advise(rows, limits, {"m.onnx": spec_of()})
    assert advice[0] == "nearest came m.onnx by onnxruntime on cpu, 2 threads: 10.0 fps, wanted are 20"
    # 50 ms are allowed, 10 go elsewhere, 40 of 90 are left: √(4/9) = 2/3 of 299 and of width 1.
    assert "about 199 × 199 instead of 299 × 299" in advice[1]
    assert "width 0.67 instead of 1" in advice[2]
    assert all("an estimate" in line for line in advice[1:])


def test_advice_does_not_estimate_what_a_smaller_network_cannot_give() -> None:
    advice = advise([row(100.0)], Limits(max_latency_ms=5), {"m.onnx": spec_of()})
    assert (
        advice[1] == "everything but inference takes 10.0 ms already: smaller frames of the camera, or a faster board"
    )
    assert len(advise([row(100.0)], Limits(max_latency_ms=50), {"m.onnx": spec_of(side=40, width=None)})) == 1


def test_advice_asks_for_no_smaller_input_where_only_memory_is_short() -> None:
    advice = advise([row(10.0, mb=300)], Limits(min_fps=20, memory_mb=200), {"m.onnx": spec_of()})
    assert not any("an estimate" in line for line in advice)


def test_advice_says_who_takes_the_least_memory_and_that_int8_is_missing() -> None:
    plain = replace(row(mb=300), precision="fp32")
    advice = advise([plain, replace(row(mb=250, engine="openvino"), precision="fp32")], Limits(memory_mb=99), {})
    assert any("no int8 file was among them" in line for line in advice)
    assert any("the least memory takes m.onnx by openvino" in line and "250 MB, measured" in line for line in advice)


def test_advice_where_nothing_could_be_measured() -> None:
    assert advise([Row(candidate=row().candidate, precision="int8", why_not="x")], Limits(), {}) == (
        "nothing could be measured; the table says why",
    )


def test_a_candidate_that_ends_its_process_is_a_row_and_no_end_of_the_tuning(
    onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.syspath_prepend(tmp_path)
    task = Task(candidate=Candidate(model=str(onnx), engine="onnxruntime"), width=8, height=8, seconds=0.01)
    answer = run_apart(task)
    assert answer.sample is None
    assert "ended with SIGKILL, which is how the kernel ends what takes more memory than there is" in answer.why


def test_a_candidate_that_cannot_open_the_file_says_why(tmp_path: Path) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(b"nothing")
    answer = run_apart(Task(candidate=Candidate(model=str(path), engine="onnxruntime"), width=8, height=8, seconds=1))
    assert "no.onnx" in answer.why


def test_spinning_is_tried_where_it_can_matter(onnx: Path, pi5: Facts) -> None:
    found = candidates(onnx, pi5, (1, 4), ("onnxruntime",))
    assert [(item.threads, item.spin) for item in found] == [(1, False), (4, False), (4, True)]
    assert str(found[2]) == "tiny-int8.onnx by onnxruntime on cpu, 4 threads, spinning"


def test_an_accelerator_is_tried_only_where_there_is_one(onnx: Path, pi5: Facts) -> None:
    there = replace(pi5, accelerators=replace(pi5.accelerators, intel_gpu=True, intel_npu=True))
    devices = [item.device for item in candidates(onnx, there, (1,), ("openvino",))]
    assert devices == ["cpu", "gpu", "npu"]


def test_spinning_changes_no_answer(onnx: Path) -> None:
    import numpy as np

    frame = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    with Model(onnx, threads=2) as calm, Model(onnx, threads=2, spin=True) as spinning:
        assert np.array_equal(calm.logits([frame]), spinning.logits([frame]))


def test_what_cannot_be_tuned_is_refused_in_words(onnx: Path, pi5: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        candidates(Path("gone.onnx"), pi5, (), ())
    with pytest.raises(BadInputError, match="engine 'onxruntime' is not known"):
        candidates(onnx, pi5, (), ("onxruntime",))
    with pytest.raises(MissingExtraError, match="none of its engines is installed: one of onnxruntime, openvino"):
        candidates(onnx, pi5, (), ("tflite",))


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(edgex, list(map(str, arguments)), standalone_mode=False)


QUICK = ("--rounds", 1, "--seconds", 0.02, "--threads", "1", "--frame", "64x48")


def test_the_command_prints_the_table_and_the_choice(tflite: Path) -> None:
    result = run("tune", tflite, *QUICK)
    assert result.return_value == 0, result.exception
    assert "choice (the fastest): tiny.tflite by tflite on cpu, 1 thread" in result.stdout
    assert "kept in" in result.stdout
    assert result.stderr == ""


def test_the_command_takes_an_openvino_models_weights_for_no_model(tmp_path: Path) -> None:
    model = with_evidence("tiny.xml", Path(shutil.copytree(TINY, tmp_path / "all")), PASSED)
    result = run("tune", model, model.with_suffix(".bin"), *QUICK, "--json")
    assert json.loads(result.stdout)["choice"]["model"] == str(model)


def test_the_command_says_that_nothing_fits_and_what_came_nearest(tflite: Path) -> None:
    result = run("tune", tflite, *QUICK, "--memory", 5, "--json")
    answer = json.loads(result.stdout)
    assert (result.return_value, answer["choice"], answer["files"]) == (9, None, [])
    assert answer["limits"] == "at most 5 MB"
    assert answer["advice"][0].startswith("nearest came tiny.tflite by tflite on cpu, 1 thread")
    assert load_tuned(tflite) is None


@pytest.mark.parametrize(
    ("flag", "value"), [("--threads", "1,x"), ("--threads", "0"), ("--frame", "12"), ("--min-fps", 0)]
)
def test_the_command_refuses_what_is_no_number(tflite: Path, flag: str, value: object) -> None:
    result = run("tune", tflite, flag, value)
    assert result.exception is not None
    assert type(result.exception).__name__ == "BadParameter"
