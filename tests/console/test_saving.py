"""The picture that a viewer sees, kept or explained: photos by class, and Grad-CAM."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from viewer_page import Page

from edgex.networks.checkpoint import save_checkpoint
from edgex.networks.xception import NORMALISE, Xception, XceptionConfig
from edgex_runtime.control import ModelChoice
from edgex_runtime.model import Model
from edgex_runtime.spec import InputSpec, ModelSpec, Resize

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
pytestmark = pytest.mark.usefixtures("no_thread_leaks")


@pytest.fixture
def page(console: Any) -> Page:
    return Page(console.connect())


def test_the_frame_that_is_seen_is_saved_without_loss(console: Any, page: Page, tmp_path: Path) -> None:
    console.show(NOISE)
    number = page.until(lambda update: update["picture"])["picture"]["number"]
    console.show()
    answer = page.ask("save", number=number, label="  marble   race ")
    saved = tmp_path / "photos" / answer["saved"]["file"]
    assert (answer["saved"]["label"], answer["saved"]["count"]) == ("marble race", 1)
    assert answer["classes"] == ["marble race"]
    with Image.open(saved) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), NOISE)
    again = page.ask("save", number=number, label="marble race")
    assert again["saved"]["count"] == 2
    assert again["saved"]["file"] != answer["saved"]["file"]
    assert not list((tmp_path / "photos").glob("**/*.tmp"))


def test_a_jpeg_where_that_is_asked_for(open_console: Callable[..., Any], tmp_path: Path) -> None:
    console = open_console(f"?collect={tmp_path}&format=jpg")
    page = Page(console.connect())
    console.show(np.full((48, 64, 3), (200, 80, 160), np.uint8))
    number = page.until(lambda update: update["picture"])["picture"]["number"]
    with Image.open(tmp_path / page.ask("save", number=number, label="a")["saved"]["file"]) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - (200, 80, 160)).max() <= 3


@pytest.mark.parametrize(
    "label",
    [
        "",
        " ",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc",
        ".hidden",
        "x.",
        "a\0b",
        "\x1b[2J",
        "\u202ea",
        "con:",
        "é" * 60,
    ],
)
def test_a_class_that_is_no_folders_name_is_refused(console: Any, page: Page, tmp_path: Path, label: str) -> None:
    console.show()
    number = page.until(lambda update: update["picture"])["picture"]["number"]
    before = sorted(tmp_path.rglob("*"))
    assert "want a name of 1 to 100 bytes" in page.ask("save", number=number, label=label)["error"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_out_of_the_folder_is_not_followed(console: Any, page: Page, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "photos" / "cat").symlink_to(tmp_path / "outside")
    console.show()
    number = page.until(lambda update: update["picture"])["picture"]["number"]
    assert "a link to somewhere else" in page.ask("save", number=number, label="cat")["error"]
    assert list((tmp_path / "outside").iterdir()) == []


def test_what_cannot_be_saved_is_told(console: Any, page: Page, tmp_path: Path) -> None:
    console.show()
    number = page.until(lambda update: update["picture"])["picture"]["number"]
    assert "gone already" in page.ask("save", number=number + 99, label="cat")["error"]
    (tmp_path / "photos" / "file").write_text("")
    assert "cannot be saved" in page.ask("save", number=number, label="file")["error"]
    answers = [page.ask("save", number=number, label="cat") for _ in range(12)]
    assert "at most 4 pictures a second" in answers[-1]["error"]


def test_without_a_folder_nothing_is_collected(open_console: Callable[..., Any]) -> None:
    page = Page(open_console().connect())
    assert page.hello["classes"] is None
    assert "?collect=photos" in page.ask("save", label="cat")["error"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Model]:
    torch.manual_seed(0)
    size = InputSpec(height=64, width=64)
    spec = ModelSpec(
        name="c", labels=("circle", "square", "star"), input=size, resize=Resize(mode="stretch"), normalise=NORMALISE
    )
    network = Xception(XceptionConfig(width=0.125, middle_blocks=0, image_size=64, classes=3))
    save_checkpoint(tmp_path / "c.safetensors", network, spec)
    with Model(tmp_path / "c.safetensors", threads=1) as model:
        yield model


def test_grad_cam_lies_on_the_very_frame_that_it_explains(
    open_console: Callable[..., Any], models: ModelChoice, checkpoint: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ModelChoice({"tiny": models.models["tiny"], "net": checkpoint})
    monkeypatch.setattr(models, "_models", both.models)
    console = open_console()
    page = Page(console.connect())
    assert [model["explains"] for model in page.hello["models"]] == [False, True]
    console.show(NOISE, model="tiny")
    plain = page.until(lambda update: update["picture"])
    assert plain["picture"]["explained_by"] == ""
    before = page.picture()
    page.ask("watch", source="front door", explain=True)
    update = page.until(lambda update: update["picture"]["explained_by"])
    assert (update["picture"]["explained_by"], update["picture"]["name"], update["trouble"]) == (
        "net",
        "front door#0",
        "",
    )
    assert np.abs(page.picture().astype(int) - before).mean() > 5
    page.ask("watch", source="front door", explain=False)
    assert page.until(lambda update: not update["picture"]["explained_by"])


def test_where_no_model_can_explain_the_viewer_is_told(console: Any, page: Page) -> None:
    console.show()
    page.ask("watch", source="front door", explain=True)
    assert "wants a checkpoint" in page.until(lambda update: update["trouble"])["trouble"]
