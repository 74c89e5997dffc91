"""`edgex explain MODEL IMAGE -o heat.png`: where in a picture a checkpoint sees a class."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgex_runtime.engines.engine import Device

SCHEMA_VERSION = 1


@click.command(name="explain")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The picture (.png).")
@click.option("--class", "label", metavar="LABEL", help="The class to explain; by default the likeliest.")
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(model: Path, image: Path, out: Path, label: str | None, device: "Device", as_json: bool) -> None:
    """Draw where in IMAGE the checkpoint MODEL sees a class: Grad-CAM, red where most of its logit comes from."""
    from edgex_runtime.errors import BadInputError
    from edgex_runtime.explanation import explain
    from edgex_runtime.image import read_image
    from edgex_runtime.model import Model

    if out.suffix.lower() != ".png" or not out.parent.is_dir():
        raise BadInputError(f"{out}: want a name that ends in .png, in a folder that exists")
    pixels = read_image(image)
    with Model(model, device=device) as opened:
        explanation = explain(opened, pixels, label)
    _write(out, pixels, explanation.heat)
    if as_json:
        answer = {"label": explanation.label, "score": explanation.score, "out": str(out)}
        click.echo(json.dumps({"schema": SCHEMA_VERSION, **answer}, ensure_ascii=False))
    else:
        click.echo(f"{explanation.label} {explanation.score:.1%}: {out}")


def _write(out: Path, pixels: "NDArray[np.uint8]", heat: "NDArray[np.float32]") -> None:
    from PIL import Image

    from edgex_runtime.atomic import atomic_write
    from edgex_runtime.errors import BadInputError
    from edgex_runtime.explanation import draw_heat

    drawn = draw_heat(pixels, heat)
    try:
        with atomic_write(out) as file:
            Image.fromarray(drawn).save(file, format="PNG")
    except OSError as error:
        raise BadInputError(f"{out}: cannot be written: {error.strerror}") from error
