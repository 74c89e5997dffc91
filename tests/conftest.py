"""Fixtures that every area of the suite may use."""

from pathlib import Path

import pytest

from edgex_runtime.privacy import decline_telemetry

# Tests import vendors at their top, before any code of ours does that would decline.
decline_telemetry()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real photos and models beside the checkout; tests that want them are marked `shared`."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not (path / "data" / "flowers").is_dir():
        pytest.skip(f"the real photos are not here: {path} (data/flowers, models, hostile)")
    return path
