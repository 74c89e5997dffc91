"""timm and torchvision: what their configuration means in the contract, and their networks where they are installed."""

from pathlib import Path
from typing import Any

import pytest

from edgex.networks.source import GRAMMAR, Missing, resolve
from edgex.networks.sources.contract import contract_of, distinct
from edgex.networks.sources.offer import Offer
from edgex.networks.sources.pretrained_cfg import preprocessing_of
from edgex.networks.sources.registry import FILES, SCHEMES, Scheme, load
from edgex.networks.sources.torch_build import torchvision_fits
from edgex_runtime.errors import BadInputError, MissingExtraError, SpecError
from edgex_runtime.spec import Normalise

# timm 1.0.31's own, shortened.
RESNET18 = {
    "input_size": (3, 224, 224),
    "interpolation": "bicubic",
    "crop_pct": 0.95,
    "crop_mode": "center",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}


def _importable(name: str) -> bool:
    """Whether a library that stands on torchvision is here and fits this torch; importorskip knows only the first."""
    try:
        with torchvision_fits():
            __import__(name)
    except ImportError:
        return False
    return True


def offer(**known: Any) -> Offer:
    from torch import nn

    return Offer(network=nn.Identity(), title="some", sha256="", **known)


def test_a_pretrained_cfg_becomes_the_contract() -> None:
    said = preprocessing_of("timm:resnet18", RESNET18)
    assert (said.input_size, said.resize, said.crop_fraction) == ((224, 224), "crop", 0.95)
    assert said.normalise.mean == pytest.approx((123.675, 116.28, 103.53))
    assert said.normalise.std == pytest.approx((58.395, 57.12, 57.375))
    assert said.interpolation == "bicubic"


@pytest.mark.parametrize(
    ("change", "resize", "crop_fraction"),
    [
        ({"crop_mode": "squash", "crop_pct": 1.0}, "stretch", None),
        # Ways that the contract has no word for are asked for, not replaced by the nearest.
        ({"crop_mode": "squash", "crop_pct": 0.9}, None, None),
        ({"crop_mode": "border", "crop_pct": 1.0}, None, None),
    ],
)
def test_crop_modes(change: dict[str, Any], resize: str | None, crop_fraction: float | None) -> None:
    said = preprocessing_of("timm:x", RESNET18 | change)
    assert (said.resize, said.crop_fraction) == (resize, crop_fraction)


def test_a_cfg_without_its_mean_is_refused() -> None:
    with pytest.raises(SpecError, match="does not say mean"):
        preprocessing_of("timm:x", RESNET18 | {"mean": None})


def test_a_cfg_of_other_channels_is_refused() -> None:
    with pytest.raises(SpecError, match="want a network of RGB images, its pretrained_cfg says 1"):
        preprocessing_of("timm:x", RESNET18 | {"input_size": (1, 28, 28)})


def test_the_user_wins_over_the_library() -> None:
    known = offer(
        labels=("a", "b"),
        input_size=(224, 224),
        resize="crop",
        crop_fraction=0.9,
        normalise=Normalise(mean=(1.0,) * 3, std=(2.0,) * 3),
    )
    missing = Missing(input_size=(96, 64), resize="stretch", mean=(5.0,) * 3, std=(6.0,) * 3)
    spec = contract_of("timm:x", known, missing)
    assert (spec.input.height, spec.input.width, spec.resize.mode) == (96, 64, "stretch")
    assert spec.resize.crop_fraction == 1.0, "the library's fraction belongs to its own way of resizing"
    assert spec.normalise == Normalise(mean=(5.0,) * 3, std=(6.0,) * 3)
    assert contract_of("timm:x", known, Missing()).resize.crop_fraction == 0.9


def test_labels_that_stand_for_two_classes_are_told_apart() -> None:
    assert distinct(("crane", "dog", "crane")) == ("crane (0)", "dog", "crane (2)")


def test_every_row_names_a_file_that_is_there() -> None:
    home = Path(__file__).parents[2]
    for scheme in (*SCHEMES.values(), *FILES.values()):
        module = scheme.entry.partition(":")[0]
        assert (home / (module.replace(".", "/") + ".py")).is_file()
        assert scheme.example in GRAMMAR


def test_a_missing_library_names_its_extra() -> None:
    row = Scheme(entry="no_such_vendor.nets:load", example="", install="'edgex[some]'", vendors=("no_such_vendor",))
    with pytest.raises(MissingExtraError, match=r"needs 'no_such_vendor', .*: pip install 'edgex\[some\]'"):
        load(row, "some:x", "x", Missing())


def test_a_torchvision_of_another_torch_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"does not fit torch .*nms"), torchvision_fits():
        raise RuntimeError("operator torchvision::nms does not exist")


def test_an_unknown_source_shows_the_grammar() -> None:
    with pytest.raises(BadInputError, match="timm:resnet18"):
        resolve("what is this", Missing())


@pytest.mark.skipif(not _importable("timm"), reason="no timm with a torchvision for this torch")
@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "vit_tiny_patch16_224"])
def test_a_network_of_timm(name: str, labels: Path) -> None:
    source = resolve(f"timm:{name}", Missing(labels=labels, weights="none", input_size=(64, 64)))
    assert (source.spec.resize.mode, source.spec.input.height, len(source.spec.labels)) == ("crop", 64, 3)


@pytest.mark.skipif(not _importable("timm"), reason="no timm with a torchvision for this torch")
def test_names_the_near_ones_of_timm() -> None:
    with pytest.raises(BadInputError, match="did you mean resnet18"):
        resolve("timm:resnet-18", Missing())


@pytest.mark.skipif(not _importable("torchvision"), reason="no torchvision for this torch")
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "vit_b_16"])
def test_a_network_of_torchvision(name: str, labels: Path) -> None:
    source = resolve(f"torchvision:{name}", Missing(labels=labels, weights="none", input_size=(64, 64)))
    assert (source.spec.resize.mode, source.spec.input.height, len(source.spec.labels)) == ("crop", 64, 3)
    assert source.spec.resize.crop_fraction == pytest.approx(224 / 256)
    assert source.spec.normalise.mean == pytest.approx((123.675, 116.28, 103.53))


@pytest.mark.skipif(not _importable("torchvision"), reason="no torchvision for this torch")
def test_names_the_near_ones_of_torchvision() -> None:
    with pytest.raises(BadInputError, match=r"did you mean .*resnet18"):
        resolve("torchvision:resnet_18", Missing())
