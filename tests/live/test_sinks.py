"""Sinks: what every one of them takes, and what is said of one that cannot be opened."""

import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from sample_results import FAILED, LIVE, RESULT, STALE, surroundings

from edgex_runtime.errors import BadInputError, MissingExtraError
from edgex_runtime.sinks.fake import FakeSink
from edgex_runtime.sinks.jsonl import to_line
from edgex_runtime.sinks.queued import SinkFigures
from edgex_runtime.sinks.registry import SINKS, open_sink
from edgex_runtime.sinks.sink import Sink
from edgex_runtime.sources.source import Frame
from edgex_runtime.summary import LiveSummary

MakeFrame = Callable[..., Frame]


@pytest.fixture(params=["fake", "-", "terminal://", "out.jsonl", "out.mp4", "out.webm", "out.avi"])
def every_sink(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    if request.param == "fake":
        return FakeSink()
    uri = str(tmp_path / request.param) if request.param.startswith("out") else request.param
    return open_sink(uri, surroundings(LIVE))


def test_every_sink_takes_frames_failures_and_states_and_closes_twice(every_sink: Sink, frame: MakeFrame) -> None:
    kept = frame(3)
    before = kept.image.copy()
    every_sink.write(None, STALE)
    every_sink.write(kept, RESULT)
    every_sink.write(None, FAILED)
    every_sink.write(None, STALE)
    every_sink.close()
    every_sink.close()
    assert np.array_equal(kept.image, before)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("out.mp5", "did you mean '.mp4'"),
        ("displya://", "unknown kind of sink"),
        ("display://x", "nothing behind it"),
        ("/no/such/folder/out.mp4", "folder that exists"),
        ("/no/such/folder/out.jsonl", "cannot be written"),
        ("", "unknown kind of sink"),
    ],
)
def test_what_cannot_be_written_is_refused(uri: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        open_sink(uri, surroundings())


@pytest.mark.parametrize(
    ("uri", "vendor", "extra"),
    [("mqtt://broker/home", "paho", "mqtt"), ("metrics://:9100", "prometheus_client", "metrics")],
)
def test_a_sink_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, uri: str, vendor: str, extra: str
) -> None:
    for name in ("mqtt", "broker", "metrics"):
        monkeypatch.delitem(sys.modules, f"edgex_runtime.sinks.{name}", raising=False)
    for name in [name for name in sys.modules if name.startswith(f"{vendor}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, vendor, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'edgex\[{extra}\]'"):
        open_sink(uri, surroundings())


def test_the_page_of_sinks_names_every_one() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")
    schemes = [f"{key}://" if key.isidentifier() or "+" in key else key for key in SINKS]
    assert [scheme for scheme in schemes if scheme not in page] == []


def test_the_page_of_sinks_explains_every_field_of_a_line() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")
    line = json.loads(to_line(RESULT))
    summary = {one.name for one in (*fields(LiveSummary), *fields(SinkFigures))} - {"name"}
    wanted = {*line, *line["times"], *summary}
    assert [name for name in sorted(wanted) if f"`{name}`" not in page and f'"{name}"' not in page] == []
