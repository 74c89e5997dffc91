"""The golden images: unchanged, reproducible, and such that no fault of preprocessing leaves them as they were."""

import hashlib
import runpy
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgex_runtime.golden import GoldenImage, load_golden_images
from edgex_runtime.preprocess import resize
from edgex_runtime.spec import InputSpec, Resize

INPUT = InputSpec(height=96, width=96)

# Of the pixels: the golden samples of every artifact out there were recorded on them.
PIXELS = {
    "harbour": "32cf21c24feca9f73193a26f125d99c09e427b55f71d3dc686f2ebd4f7aa499f",
    "orchard": "a7cad18eaa4da2c4a299e5c7dd76e4422a49bbbbaeb0561bac3deff9595d7406",
    "market": "32619aaba312a708c05dedb8988d10fecfe562e94a87a40172c27223d8e6af89",
    "signal": "173121be3ada11264bc3ab849c86384db0befc227a511784ca3029c12c78c62b",
}

every_image = pytest.mark.parametrize("golden", load_golden_images(), ids=lambda golden: golden.name)


def as_input(image: NDArray[np.uint8]) -> NDArray[np.int16]:
    return resize(np.ascontiguousarray(image), INPUT, Resize(mode="crop")).astype(np.int16)


def test_they_are_the_ones_that_artifacts_were_recorded_on() -> None:
    assert {golden.name: hashlib.sha256(golden.image).hexdigest() for golden in load_golden_images()} == PIXELS


def test_the_script_draws_them_again() -> None:
    script = runpy.run_path(str(Path(__file__).parents[1] / "runtime" / "regenerate_golden_images.py"))
    for scene, golden in zip(script["SCENES"], load_golden_images(), strict=True):
        assert np.array_equal(script["draw"](scene), golden.image)


def test_they_are_landscape_portrait_and_odd() -> None:
    shapes = [golden.image.shape for golden in load_golden_images()]
    assert len({width > height for height, width, _ in shapes}) == 2
    assert any(height % 2 and width % 2 == 0 for height, width, _ in shapes)


@every_image
def test_nobody_can_change_them(golden: GoldenImage) -> None:
    with pytest.raises(ValueError, match="read-only"):
        golden.image[0, 0] = 0


@every_image
def test_every_fault_changes_every_image(golden: GoldenImage) -> None:
    """Mean change in grey levels of the tensor that a network would get."""
    right = as_input(golden.image)
    faults = {
        "blue and red swapped": right[..., ::-1],
        "rows and columns swapped": right.transpose(1, 0, 2),
        "upside down": right[::-1],
        "mirrored": right[:, ::-1],
        "layout read as NCHW": right.transpose(2, 0, 1).reshape(right.shape),
        "fraction": resize(golden.image, INPUT, Resize(mode="crop", crop_fraction=0.875)).astype(np.int16),
    }
    if golden.image.shape[0] != golden.image.shape[1]:
        faults |= {
            "stretch": resize(golden.image, INPUT, Resize(mode="stretch")).astype(np.int16),
            "letterbox": resize(golden.image, INPUT, Resize(mode="letterbox")).astype(np.int16),
        }
    changes = {name: float(np.abs(fault - right).mean()) for name, fault in faults.items()}
    assert min(changes.values()) > 8, changes
