"""JSON lines: everything that is known, at once, and an error where the disk is full."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sample_results import EVENTS, FAILED, RESULT, STALE, surroundings

from edgex_runtime.errors import BadInputError
from edgex_runtime.sinks.registry import open_sink


def test_json_lines_tell_everything_that_is_known_of_a_frame() -> None:
    around = surroundings()
    sink = open_sink("-", around)
    sink.write(None, RESULT)
    sink.close()
    (line,) = around.stdout.getvalue().splitlines()  # type: ignore[attr-defined]
    assert json.loads(line) == {
        "schema": 1,
        "kind": "frame",
        "index": 3,
        "name": "film.mp4#3",
        "source": "",
        "model": "",
        "state": "LIVE",
        "label": "róża",
        "score": 0.931235,
        "known": True,
        "events": [],
        "reused": False,
        "top5": [{"label": "róża", "score": 0.931235}, {"label": "cat", "score": 0.07}],
        "age_ms": 31.234,
        "dropped": 2,
        "times": {"capture_ms": 1.0, "preprocess_ms": 2.0, "inference_ms": 3.0, "postprocess_ms": 0.5},
        "position_ms": 240.0,
        "at_ns": 1_000_000_000,
        "error": None,
    }


def test_json_lines_tell_a_guess_events_and_an_answer_that_was_used_again() -> None:
    around = surroundings()
    sink = open_sink("-", around)
    sink.write(None, replace(RESULT, known=False, events=EVENTS, reused=True, source="door", model="big"))
    line = json.loads(around.stdout.getvalue())  # type: ignore[attr-defined]
    assert (line["label"], line["known"], line["reused"], line["source"], line["model"]) == (
        "róża",
        False,
        True,
        "door",
        "big",
    )
    assert line["events"] == [{"kind": "appeared", "label": "cat"}, {"kind": "left", "label": "róża"}]


def test_json_lines_are_on_the_disk_before_the_run_ends(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(str(path), surroundings())
    sink.write(None, FAILED)
    sink.write(None, STALE)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(line["kind"], line["state"], line["error"]) for line in lines] == [
        ("frame", "LIVE", "x.jpg: want an image"),
        ("state", "STALE", None),
    ]
    sink.close()


def test_a_full_disk_ends_the_log_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").symlink_to("/dev/full")
    sink = open_sink(str(tmp_path / "out.jsonl"), surroundings())
    with pytest.raises(BadInputError, match="No space left"):
        sink.write(None, RESULT)
    with pytest.raises(BadInputError, match="No space left"):
        sink.close()
