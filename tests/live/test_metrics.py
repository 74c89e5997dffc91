"""Metrics, asked for by HTTP and read by Prometheus's own parsers."""

import socket
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_boards import JETSON, RASPBERRY_PI, write_board
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from edgex_runtime.control import Classifier, ModelChoice
from edgex_runtime.engines.engine import EngineInfo
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.health import HealthMonitor
from edgex_runtime.sinks.fake import FakeSink
from edgex_runtime.sinks.queued import QueuedSink, QueueOptions
from edgex_runtime.sinks.registry import Surroundings, open_queued, open_sink
from edgex_runtime.sinks.sink import Event, LiveResult, StageTimes
from edgex_runtime.sources.source import SourceInfo

CAMERA = SourceInfo(name="door", live=True, fps=30.0)
TIMES = StageTimes(capture_ms=1.0, preprocess_ms=2.0, inference_ms=20.0, postprocess_ms=0.5)
RESULT = LiveResult(
    state=State.LIVE,
    name="door#1",
    at_ns=0,
    age_ms=30.0,
    dropped=0,
    index=1,
    label="cat",
    score=0.93,
    times=TIMES,
    source="door",
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def get(port: int, accept: str = "text/plain") -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def ask(port: int) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(get(port))
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def open_it(port: int) -> tuple[QueuedSink, Surroundings]:
    around = Surroundings(source=CAMERA)
    return open_queued(f"metrics://127.0.0.1:{port}", around), around


def settle(queued: QueuedSink, count: int) -> None:
    late = time.monotonic() + 10
    while queued.figures().written < count:
        assert time.monotonic() < late
        time.sleep(0.005)


def test_the_model_that_is_told_is_the_one_in_use(make_model: Callable[..., Classifier]) -> None:
    big = make_model(info=EngineInfo(name="fake", version="1", device="npu"))
    models = ModelChoice({"small": make_model(), "big": big})
    port = free_port()
    sink = open_sink(f"metrics://127.0.0.1:{port}", Surroundings(source=CAMERA, models=models))
    told = []
    for name in ("small", "big"):
        models.select(name)
        told += [dict(labels) for metric, labels in ask(port) if metric == "edgex_model_info"]
    sink.close()
    assert [labels["device"] for labels in told] == ["cpu", "npu"]


def test_frames_ages_states_and_reconnects_are_counted_for_each_source() -> None:
    port = free_port()
    sink, _ = open_it(port)
    results = [
        RESULT,
        replace(RESULT, dropped=3, age_ms=700.0),
        replace(RESULT, dropped=5, label=None, score=None, times=None, age_ms=900.0, error="broken"),
        replace(RESULT, dropped=5, reused=True, events=(Event(kind="appeared", label="cat"),)),
        replace(RESULT, index=None, label=None, state=State.RECONNECTING, dropped=5),
        replace(RESULT, index=None, label=None, state=State.RECONNECTING, dropped=5),
        replace(RESULT, dropped=1),
        replace(RESULT, index=None, label=None, state=State.RECONNECTING, dropped=1),
        replace(RESULT, source="yard", model="big"),
    ]
    for result in results:
        sink.write(None, result)
    settle(sink, len(results))
    samples = ask(port)
    sink.close()
    assert of(samples, "edgex_frames_total", source="door", outcome="classified") == 3
    assert of(samples, "edgex_frames_total", source="door", outcome="failed") == 1
    assert of(samples, "edgex_frames_total", source="door", outcome="reused") == 1
    assert of(samples, "edgex_frames_total", source="yard", outcome="classified") == 1
    assert of(samples, "edgex_frames_dropped_total", source="door") == 6
    assert of(samples, "edgex_source_reconnects_total", source="door") == 2
    assert of(samples, "edgex_events_total", source="door", kind="appeared") == 1
    assert of(samples, "edgex_frame_age_seconds_count", source="door") == 4
    assert of(samples, "edgex_frame_age_seconds_sum", source="door") == pytest.approx(0.79)
    assert of(samples, "edgex_frame_age_seconds_bucket", source="door", le="0.05") == 3
    assert of(samples, "edgex_inference_seconds_sum", source="door", model="") == pytest.approx(0.06)
    assert of(samples, "edgex_inference_seconds_count", source="yard", model="big") == 1
    states = {state: of(samples, "edgex_source_state", source="door", edgex_source_state=state) for state in State}
    assert states == {state: float(state is State.RECONNECTING) for state in State}
    assert of(samples, "edgex_last_result_timestamp_seconds", source="yard") == pytest.approx(time.time(), abs=60)


def test_what_other_sinks_lost_is_shown() -> None:
    port = free_port()
    sink, around = open_it(port)
    for _ in range(2):
        other = QueuedSink(FakeSink(), name="mqtt://broker/x", options=QueueOptions(capacity=2, waits=True))
        around.queues.append(other)
        other.write(None, RESULT)
        other.close()
    other.write(None, RESULT)
    samples = ask(port)
    sink.close()
    assert of(samples, "edgex_sink_written_total", sink="mqtt://broker/x") == 1
    assert of(samples, "edgex_sink_dropped_total", sink="mqtt://broker/x") == 0
    assert of(samples, "edgex_sink_dropped_total", sink="mqtt://broker/x 2") == 1
    assert 0 < (of(samples, "edgex_sink_write_median_seconds", sink="mqtt://broker/x") or 0) < 1
    assert of(samples, "edgex_sink_written_total", sink=f"metrics://127.0.0.1:{port}") == 0


def board_metrics(root: Path) -> Samples:
    port = free_port()
    sink = open_sink(f"metrics://127.0.0.1:{port}", Surroundings(source=CAMERA, health=HealthMonitor(root)))
    samples = {key: value for key, value in ask(port).items() if key[0].startswith("edgex_board")}
    sink.close()
    return samples


def test_the_boards_temperature_power_and_throttling_are_told(tmp_path: Path) -> None:
    throttled = {".commands/vcgencmd get_throttled": "throttled=0x50004\n"}
    samples = board_metrics(write_board(tmp_path / "pi", {**RASPBERRY_PI, **throttled}))
    assert of(samples, "edgex_board_temperature_celsius", sensor="cpu-thermal") == 61.25
    assert of(samples, "edgex_board_throttled", reason="throttled") == 1
    assert of(samples, "edgex_board_throttled", reason="voltage") == 0
    assert of(samples, "edgex_board_throttled_since_start", reason="voltage") == 1
    samples = board_metrics(write_board(tmp_path / "jetson", JETSON))
    assert of(samples, "edgex_board_power_watts", rail="VDD_IN") == pytest.approx(9.28)
    assert of(samples, "edgex_board_throttled", reason="heat") == 0
    assert of(samples, "edgex_board_cpu_limit_hertz") == pytest.approx(1_113_600_000)
    assert of(samples, "edgex_board_cpu_max_hertz") == pytest.approx(1_510_400_000)


def test_of_what_a_board_does_not_tell_there_is_no_metric(tmp_path: Path) -> None:
    assert board_metrics(tmp_path) == {}


def test_names_and_units_are_as_openmetrics_wants_them(tmp_path: Path) -> None:
    port = free_port()
    health = HealthMonitor(write_board(tmp_path, {**RASPBERRY_PI, **JETSON}))
    sink = open_queued(f"metrics://127.0.0.1:{port}", Surroundings(source=CAMERA, health=health))
    sink.write(None, RESULT)
    settle(sink, 1)
    # This parser refuses a counter without _total, and a unit that is not in the name.
    families = {family.name: family.type for family in parse_openmetrics(get(port, "application/openmetrics-text"))}
    sink.close()
    assert families["edgex_frames"] == "counter"
    assert families["edgex_frame_age_seconds"] == "histogram"
    assert families["edgex_source_state"] == "stateset"
    assert families["edgex_board_temperature_celsius"] == families["edgex_board_power_watts"] == "gauge"


def test_labels_hold_no_credentials_and_are_bounded() -> None:
    port = free_port()
    sink = open_sink(f"metrics://127.0.0.1:{port}", Surroundings(source=CAMERA))
    sink.write(None, replace(RESULT, source="rtsp://me:sesame@10.0.0.7/1?token=sesame"))
    for index in range(500):
        sink.write(None, replace(RESULT, source=f"camera {index}", label=f"class {index}"))
    text = get(port)
    sink.close()
    assert "sesame" not in text
    assert 'source="rtsp://***@10.0.0.7/1?token=***"' in text
    assert 'source="others"' in text
    assert "class 7" not in text
    assert text.count("edgex_frames_total{") == 101


def test_a_client_that_says_nothing_keeps_nobody_from_the_end() -> None:
    port = free_port()
    sink, _ = open_it(port)
    with socket.create_connection(("127.0.0.1", port)):
        assert "edgex" in get(port)
        start = time.perf_counter()
        sink.close()
        assert time.perf_counter() - start < 1
    with pytest.raises(OSError, match="refused"):
        get(port)


def test_without_an_address_it_is_loopback_and_any_other_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    sink = open_sink(f"metrics://:{port}", Surroundings(source=CAMERA))
    sink.close()
    monkeypatch.setattr("edgex_runtime.sinks.metrics.PORT", port)
    sink = open_sink("metrics://", Surroundings(source=CAMERA))
    assert "edgex" in get(port)
    sink.close()
    assert not caplog.text
    sink = open_sink(f"metrics://0.0.0.0:{port}", Surroundings(source=CAMERA))
    sink.close()
    assert "everyone who reaches this machine" in caplog.text


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(BadInputError, match="cannot listen there: Address already in use"):
            open_sink(f"metrics://127.0.0.1:{port}", Surroundings(source=CAMERA))
