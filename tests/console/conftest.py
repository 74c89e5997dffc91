"""Models that cost nothing, for whatever stands above the engine seam."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgex_runtime.metadata.registry import write_spec
from edgex_runtime.spec import InputSpec, ModelSpec, Resize


def make_bare_model(path: Path, name: str = "tiny", labels: tuple[str, ...] = ("circle", "square", "star")) -> Path:
    """A contract without tensors, which the fake engine runs."""
    header = b"{}      "
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    size = InputSpec(height=16, width=16)
    write_spec(path, ModelSpec(name=name, labels=labels, input=size, resize=Resize(mode="stretch")))
    return path


@pytest.fixture(scope="session")
def bare_model() -> Callable[..., Path]:
    return make_bare_model
