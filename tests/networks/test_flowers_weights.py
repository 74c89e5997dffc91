"""Real ImageNet weights under Keras's names, and the flower classifier that stands on them."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from edgex.networks.deploy import Deployed
from edgex.networks.weights import labels_in, load_weights
from edgex.networks.xception import NORMALISE, Xception, XceptionConfig
from edgex_runtime.errors import WeightsError
from edgex_runtime.image import read_image
from edgex_runtime.preprocess import resize
from edgex_runtime.spec import InputSpec, Resize

pytestmark = pytest.mark.shared

PHOTOS_A_CLASS = 8


@pytest.fixture(scope="module")
def merged(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trunk and tail in one file, with the tail's header."""
    trunk, tail = (
        shared / "models" / f"xception-{name}.safetensors" for name in ("imagenet-blocks1-13", "flowers-tail")
    )
    with safe_open(tail, framework="pt") as file:
        header = file.metadata()
    path = tmp_path_factory.mktemp("flowers") / "merged.safetensors"
    tensors = safetensors.torch.load_file(trunk) | safetensors.torch.load_file(tail)
    safetensors.torch.save_file(tensors, path, metadata=header)
    return path


def test_trunk_and_tail_together_are_a_complete_network(merged: Path) -> None:
    report = load_weights(Xception(XceptionConfig(classes=5)), merged)
    assert (report.scheme, report.missing, report.unexpected) == ("Keras", (), ())
    assert len(report.loaded) == 236


def test_the_trunk_alone_lacks_block_14s_kernels_and_the_head_by_name(shared: Path) -> None:
    trunk = shared / "models" / "xception-imagenet-blocks1-13.safetensors"
    network = Xception(XceptionConfig(classes=5))
    with pytest.raises(WeightsError) as caught:
        load_weights(network, trunk)
    absent = [line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]]
    layers = ["block14_sepconv1", "block14_sepconv2"]
    kernels = [f"{layer}/{kind}_kernel" for layer in layers for kind in ("depthwise", "pointwise")]
    assert absent == [*kernels, "predictions/bias", "predictions/kernel"]
    report = load_weights(network, trunk, allow_missing=lambda key: key.startswith(("block14.", "head.")))
    assert (len(report.loaded), len(report.missing)) == (230, 6)


def test_classifies_flowers_as_its_header_says(merged: Path, shared: Path) -> None:
    labels = labels_in(merged)
    assert labels == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    with safe_open(merged, framework="pt") as file:
        documented = float(json.loads(file.metadata()["top1_val"]))
    network = Xception(XceptionConfig(classes=len(labels)))
    load_weights(network, merged)
    deployed = Deployed(network, NORMALISE).eval()
    right = total = 0
    for index, label in enumerate(labels):
        files = sorted((shared / "data" / "flowers" / "val" / label).iterdir())
        images = [read_image(path) for path in files[:: len(files) // PHOTOS_A_CLASS][:PHOTOS_A_CLASS]]
        batch = np.stack([resize(image, InputSpec(height=299, width=299), Resize(mode="stretch")) for image in images])
        with torch.no_grad():
            right += int((deployed(torch.from_numpy(batch)).argmax(1) == index).sum())
        total += len(batch)
    # Two standard errors of a share measured on 40 photos.
    assert total == 5 * PHOTOS_A_CLASS
    assert right / total >= documented - 2 * (documented * (1 - documented) / total) ** 0.5
