"""Models that cost nothing, and a console that a test feeds by hand."""

import contextlib
import io
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

from edgex_runtime.control import Control, ModelChoice
from edgex_runtime.freshness import State
from edgex_runtime.health import HealthMonitor
from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.model import Model
from edgex_runtime.predictions import Score
from edgex_runtime.sinks.registry import Surroundings, open_sink
from edgex_runtime.sinks.sink import LiveResult, Sink, StageTimes
from edgex_runtime.sources.source import Frame, SourceInfo
from edgex_runtime.spec import Evidence, InputSpec, ModelSpec, Resize

LABELS = ("circle", "square", "star")
EVIDENCE = Evidence(
    stage="quantize_onnx", metrics={"top1": 0.987}, images=120, fingerprint="f", gate="accuracy ≥ 99 %", passed=True
)


def make_bare_model(path: Path, name: str = "tiny") -> Path:
    """A contract without tensors, which the fake engine runs."""
    header = b"{}      "
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    spec = ModelSpec(
        name=name,
        labels=LABELS,
        input=InputSpec(height=16, width=16),
        resize=Resize(mode="stretch"),
        evidence=(EVIDENCE,),
    )
    write_spec(path, spec)
    return path


@pytest.fixture(scope="session")
def bare_model() -> Callable[..., Path]:
    return make_bare_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelChoice]:
    folder = tmp_path_factory.mktemp("models")
    opened = {
        name: Model(make_bare_model(folder / f"{name}.safetensors", name), engine="fake") for name in ("tiny", "other")
    }
    yield ModelChoice(opened)
    for model in opened.values():
        model.close()


def make_result(index: int | None, *, source: str = "front door", **changes: Any) -> LiveResult:
    """A result as the loop gives it; without an index one that tells the state only."""
    told: dict[str, Any] = {"state": State.LIVE, "name": source, "source": source, "at_ns": time.monotonic_ns()}
    told |= {"age_ms": 12.0, "dropped": 3, "index": index}
    if index is not None:
        scores = tuple(Score(label=label, score=score) for label, score in zip(LABELS, (0.9, 0.07, 0.03), strict=True))
        times = StageTimes(capture_ms=1, preprocess_ms=2, inference_ms=3, postprocess_ms=0.1)
        told |= {"label": "circle", "score": 0.9, "top5": scores, "times": times}
    return LiveResult(**{**told, **changes})


def make_frame(index: int, image: np.ndarray | None = None) -> Frame:
    image = np.full((48, 64, 3), (index % 250, 80, 160), np.uint8) if image is None else image
    return Frame(image=image, index=index, captured_ns=time.monotonic_ns(), name=f"front door#{index}")


@dataclass
class Console:
    """A console that has been opened, and what it was opened with."""

    sink: Sink
    port: int
    control: Control
    models: ModelChoice | None
    said: str
    scheme: str = "http"
    tls: ssl.SSLContext | None = None
    next_index: int = 0
    sockets: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    def show(self, image: np.ndarray | None = None, **changes: Any) -> Frame:
        """Give it one frame."""
        frame = make_frame(self.next_index, image)
        result = make_result(self.next_index, **changes)
        self.sink.write(replace(frame, name=changes.get("name", frame.name)), result)
        self.next_index += 1
        return frame

    def tell(self, state: State, **changes: Any) -> None:
        """Give it a state without a frame."""
        self.sink.write(None, make_result(None, state=state, **changes))

    def connect(self, path: str = "/live", **options: Any) -> ClientConnection:
        options.setdefault("origin", self.url.rstrip("/"))
        scheme = self.scheme.replace("http", "ws")
        url = f"{scheme}://127.0.0.1:{self.port}{path}"
        return self.sockets.enter_context(connect(url, ssl=self.tls, proxy=None, close_timeout=1, **options))


@pytest.fixture
def open_console(models: ModelChoice, tmp_path: Path) -> Iterator[Callable[..., Console]]:
    """(query, sources=…, address=…, board=…) → a console on a free port; closed when the test ends."""
    opened: list[Console] = []

    def open_it(
        query: str = "", *, sources: tuple[str, ...] = ("front door",), address: str = "", board: Path | None = None
    ) -> Console:
        infos = tuple(SourceInfo(name=name, live=True, fps=30) for name in sources)
        said, control = io.StringIO(), Control()
        models.select("tiny")
        # Not the board that the tests run on: without one given there is none.
        health = HealthMonitor(board or tmp_path / "no board")
        around = Surroundings(
            source=infos[0], sources=infos, control=control, models=models, health=health, stderr=said
        )
        address = address or "http://127.0.0.1:0"
        sink = open_sink(f"{address}{query}", around)
        port = int(said.getvalue().split("://")[1].split("/")[0].rsplit(":", 1)[1])
        opened.append(Console(sink, port, control, models, said.getvalue(), address.split(":")[0]))
        return opened[-1]

    yield open_it
    for console in opened:
        console.sink.close()
        console.sockets.close()


@pytest.fixture
def console(open_console: Callable[..., Console], tmp_path: Path) -> Console:
    """One that collects below ``photos``."""
    (tmp_path / "photos").mkdir()
    return open_console(f"?collect={tmp_path / 'photos'}")


@pytest.fixture
def no_thread_leaks() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    # The pools of the studio end by themselves, but not at once.
    end = time.monotonic() + 2
    while (left := [one.name for one in threading.enumerate() if one not in before]) and time.monotonic() < end:
        time.sleep(0.01)
    assert not [name for name in left if name.startswith("edgex")]
