"""Fixtures that every area of the suite may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgex_runtime.privacy import decline_telemetry

# Tests import vendors at their top, before any code of ours does that would decline.
decline_telemetry()


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the session's own: no test reads what an earlier one, or the user, has kept."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEX_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real photos and models beside the checkout; tests that want them are marked `shared`."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not (path / "data" / "flowers").is_dir():
        pytest.skip(f"the real photos are not here: {path} (data/flowers, models, hostile)")
    return path
