"""Prometheus: counters, histograms and states of a run at `metrics://127.0.0.1:9100`, for whoever asks by HTTP.

Names and base units as https://prometheus.io/docs/practices/naming wants them. Labels are source, sink and model names,
without credentials; classes are no label, for there may be thousands.
"""

import logging
import re
import socket
import threading
from collections.abc import Iterable, Sequence
from http.server import ThreadingHTTPServer
from ipaddress import ip_address

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, MetricsHandler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from edgex_runtime.address import shown
from edgex_runtime.control import Classifier
from edgex_runtime.errors import BadInputError
from edgex_runtime.freshness import State
from edgex_runtime.health import HealthMonitor
from edgex_runtime.sinks.address import Address, parse_address
from edgex_runtime.sinks.queued import QueuedSink
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame

logger = logging.getLogger(__name__)

PORT = 9100
LOOPBACK = "127.0.0.1"
CLIENT_S = 10.0
"""A client that says nothing for so long is hung up on."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_SOURCES = 100
OTHERS = "others"


class Meters:
    """A run's figures as Prometheus's own objects; `read` by any thread."""

    def __init__(
        self, queues: Sequence[QueuedSink], model: Classifier | None = None, health: HealthMonitor | None = None
    ) -> None:
        """Register all.

        Args:
            queues: The run's sinks; ones that are added later are shown too.
            model: What classifies; of several, the one in use when the figures are asked for.
            health: Of the board; None tells nothing of it.
        """
        self.registry = registry = CollectorRegistry()
        self._frames = Counter(
            "edgex_frames", "Frames that came to the model's turn.", ["source", "outcome"], registry=registry
        )
        self._dropped = Counter(
            "edgex_frames_dropped", "Frames that newer ones replaced.", ["source"], registry=registry
        )
        self._reconnects = Counter(
            "edgex_source_reconnects", "Times that the source was lost.", ["source"], registry=registry
        )
        self._events = Counter("edgex_events", "Classes that appeared or left.", ["source", "kind"], registry=registry)
        self._age = Histogram(
            "edgex_frame_age_seconds", "Capture to result.", ["source"], buckets=SECONDS, registry=registry
        )
        self._inference = Histogram(
            "edgex_inference_seconds",
            "The engine's time for a frame.",
            ["source", "model"],
            buckets=SECONDS,
            registry=registry,
        )
        self._state = Enum(
            "edgex_source_state",
            "What the source is doing.",
            ["source"],
            states=[state.value for state in State],
            registry=registry,
        )
        self._result_time = Gauge(
            "edgex_last_result_timestamp_seconds", "When it was, in Unix time.", ["source"], registry=registry
        )
        self.registry.register(_SinkCollector(queues))
        if model is not None:
            self.registry.register(_ModelCollector(model))
        if health is not None:
            self.registry.register(_BoardCollector(health))
        self._tracks: dict[str, _Track] = {}

    def count(self, result: LiveResult) -> None:
        """Add one result."""
        source = shown(result.source)
        if source not in self._tracks and len(self._tracks) >= MAX_SOURCES:
            source = OTHERS
        track = self._tracks.setdefault(source, _Track())
        self._dropped.labels(source).inc(track.newly_dropped(result))
        self._reconnects.labels(source).inc(track.newly_lost(result))
        self._state.labels(source).state(result.state.value)
        for event in result.events:
            self._events.labels(source, event.kind).inc()
        if result.index is not None:
            self._count_frame(source, result)

    def _count_frame(self, source: str, result: LiveResult) -> None:
        outcome = "failed" if result.label is None else "reused" if result.reused else "classified"
        self._frames.labels(source, outcome).inc()
        self._result_time.labels(source).set_to_current_time()
        # What could not be read has none: its result tells the age of the frame before.
        if result.age_ms is not None and result.label is not None:
            self._age.labels(source).observe(result.age_ms / 1e3)
        if result.times is not None and not result.reused:
            self._inference.labels(source, result.model).observe(result.times.inference_ms / 1e3)


class _Track:
    """What a source's results said last of numbers that only grow."""

    def __init__(self) -> None:
        self._dropped = 0
        self._state = State.LIVE

    def newly_dropped(self, result: LiveResult) -> int:
        # Less than before: it counts from zero again.
        new = result.dropped - self._dropped if result.dropped >= self._dropped else result.dropped
        self._dropped = result.dropped
        return new

    def newly_lost(self, result: LiveResult) -> int:
        lost = result.state is State.RECONNECTING and self._state is not State.RECONNECTING
        self._state = result.state
        return int(lost)


class _SinkCollector:
    """The other sinks' figures, taken when they are asked for."""

    def __init__(self, queues: Sequence[QueuedSink]) -> None:
        self._queues = queues

    def collect(self) -> Iterable[Metric]:
        written = CounterMetricFamily("edgex_sink_written", "Results that the sink took.", labels=["sink"])
        dropped = CounterMetricFamily("edgex_sink_dropped", "Results that the sink lost.", labels=["sink"])
        delivered = CounterMetricFamily(
            "edgex_sink_delivered", "Messages that the sink's server has confirmed.", labels=["sink"]
        )
        median = GaugeMetricFamily("edgex_sink_write_median_seconds", "The sink's time for one.", labels=["sink"])
        seen = set[str]()
        for figures in [queue.figures() for queue in list(self._queues)]:
            name = f"{figures.name} {len(seen)}" if figures.name in seen else figures.name
            seen.add(name)
            written.add_metric([name], figures.written)
            dropped.add_metric([name], figures.dropped)
            if figures.delivered is not None:
                delivered.add_metric([name], figures.delivered)
            if figures.median_ms is not None:
                median.add_metric([name], figures.median_ms / 1e3)
        return [written, dropped, delivered, median]


class _ModelCollector:
    """The model in use, looked up when it is asked for: a console may have switched to another."""

    def __init__(self, model: Classifier) -> None:
        self._model = model

    def collect(self) -> Iterable[Metric]:
        info = self._model.info
        value = {"name": self._model.spec.name, "engine": info.name, "device": info.device}
        return [InfoMetricFamily("edgex_model", "What classifies.", value=value)]


class _BoardCollector:
    """The board's health, read when it is asked for; of what the board does not tell there is no metric, not zero."""

    def __init__(self, health: HealthMonitor) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        health = self._health.read()
        celsius = GaugeMetricFamily("edgex_board_temperature_celsius", "Of each sensor.", labels=["sensor"])
        for sensor in health.temperatures:
            celsius.add_metric([sensor.name], sensor.value)
        watts = GaugeMetricFamily("edgex_board_power_watts", "Of each rail that is measured.", labels=["rail"])
        for rail in health.powers:
            watts.add_metric([rail.name], rail.value)
        now = GaugeMetricFamily("edgex_board_throttled", "Whether it slows the board down now.", labels=["reason"])
        before = GaugeMetricFamily(
            "edgex_board_throttled_since_start", "Whether it has since the board was started.", labels=["reason"]
        )
        for one in health.throttles:
            now.add_metric([one.reason], one.now)
            if one.before is not None:
                before.add_metric([one.reason], one.before)
        limit = GaugeMetricFamily("edgex_board_cpu_limit_hertz", "What the CPU may run at.")
        most = GaugeMetricFamily("edgex_board_cpu_max_hertz", "What the CPU can run at.")
        if health.clock_limit_mhz is not None and health.clock_max_mhz is not None:
            limit.add_metric([], health.clock_limit_mhz * 1e6)
            most.add_metric([], health.clock_max_mhz * 1e6)
        return [family for family in (celsius, watts, now, before, limit, most) if family.samples]


class MetricsSink:
    """Counts, and answers Prometheus from threads of its own."""

    def __init__(self, meters: Meters, server: ThreadingHTTPServer) -> None:
        """Store, and begin to answer."""
        self._meters = meters
        self._server: ThreadingHTTPServer | None = server
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="edgex-metrics", daemon=True
        )
        self._thread.start()

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Count one result."""
        self._meters.count(result)

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _ServerV6(_Server):
    address_family = socket.AF_INET6


def open_metrics(uri: str, surroundings: Surroundings) -> MetricsSink:
    """Listen where the URI says; `metrics://` and `metrics://:9100` are loopback.

    Raises:
        BadInputError: If it cannot listen there.
    """
    # Such a URI has no host, and a socket without one would be open to everybody.
    uri = re.sub(r"^metrics://(?=:|$)", f"metrics://{LOOPBACK}", uri)
    address = parse_address(uri, port=PORT, known={})
    meters = Meters(surroundings.queues, surroundings.models, surroundings.health)
    return MetricsSink(meters, _listen(address, meters.registry))


def _listen(address: Address, registry: CollectorRegistry) -> ThreadingHTTPServer:
    handler = type("Handler", (MetricsHandler,), {"registry": registry, "timeout": CLIENT_S})
    try:
        server = (_ServerV6 if ":" in address.host else _Server)((address.host, address.port), handler)
    except OSError as error:
        raise BadInputError(f"{address.shown}: cannot listen there: {error.strerror or error}") from error
    bound = str(server.server_address[0])
    if not ip_address(bound).is_loopback:
        logger.warning("%s: everyone who reaches this machine can read the metrics there", address.shown)
    return server
