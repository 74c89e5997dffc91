"""`edgex inspect MODEL --layers`: which layers a model's error against fp32 comes from."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgex_runtime.errors import BadInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgex_converters.blame import Blame, LayerError
    from edgex_converters.graph import Graph
    from edgex_runtime.spec import ModelSpec

_SHOWN = 20


def show(model: Path, against: Path | None, images: Path | None, *, everything: bool, as_json: bool) -> None:
    """Blame, and print the table or the JSON.

    Args:
        model: What is blamed.
        against: Its fp32 twin, or the checkpoint.
        images: A folder of photos, one folder a class.
        everything: Print all layers rather than the worst.
        as_json: Print JSON.

    Raises:
        BadInputError: If one of the two is not given.
    """
    from edgex_converters.blame import blame
    from edgex_runtime.metadata.registry import read_spec
    from edgex_runtime.privacy import decline_telemetry

    if against is None or images is None:
        missing = "--against FP32_MODEL" if against is None else "--images DIR"
        raise BadInputError(f"--layers holds a model against its fp32 twin on your photos: give {missing}")
    decline_telemetry()
    spec = read_spec(model)
    if spec is None:
        raise BadInputError(f"{model}: want a model that edgex made, whose contract says how photos become its input")
    photos = _photos(images, spec)
    reference, expected = _reference(against, photos)
    found = blame(model, reference, photos, expected, progress=_Progress())
    if as_json:
        from edgex_converters.report.layers import to_json

        click.echo(json.dumps({"model": str(model), "against": str(against), **to_json(found)}, indent=2))
    else:
        _print(found, everything=everything)


def _photos(images: Path, spec: "ModelSpec") -> "NDArray[np.uint8]":
    import numpy as np

    from edgex_converters.blame import IMAGES
    from edgex_converters.evaluation import spread_over
    from edgex_runtime import image, preprocess
    from edgex_runtime.dataset import scan, split_folders

    files = scan(split_folders(images)[1] or images).files
    chosen = [files[index].path for index in spread_over(len(files), IMAGES)]
    return np.stack([preprocess.resize(image.read_image(path), spec.input, spec.resize) for path in chosen])


def _reference(against: Path, photos: "NDArray[np.uint8]") -> "tuple[Graph, NDArray[np.float32]]":
    """The graph to hold the model against, and what it says of the photos where it really runs."""
    from edgex_converters.blame import logits_of, read, read_network

    if against.suffix != ".safetensors":
        return read(against), logits_of(against, photos)
    from edgex.networks.source import Missing, resolve
    from edgex_converters.stages import reference

    network = resolve(str(against), Missing()).lazy_network().module()
    return read_network(network), reference.run(network, photos, lambda done, total: None)


class _Progress:
    """A bar on a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        if self._shown:
            click.echo(f"\r{done} of {total} photos" + ("\n" if done == total else ""), nl=False, err=True)


def _print(found: "Blame", *, everything: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from edgex.cli.console import answers

    console = answers()
    shown = found.layers if everything else found.layers[:_SHOWN]
    table = Table("layer", title="Error against fp32, the worst first", title_justify="left")
    for heading in ("share of logit error", "SQNR dB", "own dB", "cosine", "clipped", "weights"):
        table.add_column(heading, justify="right")
    for layer in shown:
        table.add_row(escape(layer.name), *_cells(layer))
    console.print(table)
    if len(shown) < len(found.layers):
        console.print(f"{len(found.layers) - len(shown)} more: --all-layers")
    lines = (
        f"{found.images} photos, shares on {found.share_images}; logits {_decibels(found.logits_sqnr_db)} dB",
        f"one at a time the errors add up to {found.sum_of_parts:.2f} times that of all at once",
        f"the simulation that the shares stand on differs from the engine by {found.unexplained:.1%} of the error",
        "own: against what fp32's layer makes of the same inputs; weights: cosine to fp32's",
    )
    for line in lines:
        console.print(line, soft_wrap=True)


def _cells(layer: "LayerError") -> list[str]:
    weights: Any = "" if layer.weights is None else f"{layer.weights:.5f}"
    return [
        f"{layer.share:.1%} ± {layer.share_error:.1%}",
        _decibels(layer.sqnr_db),
        _decibels(layer.own_sqnr_db),
        f"{layer.cosine:.4f}",
        f"{layer.clipped:.2%}",
        weights,
    ]


def _decibels(value: float) -> str:
    return "equal" if value == float("inf") else f"{value:.1f}"
