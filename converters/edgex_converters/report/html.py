"""`report.html`: a conversion as one page, no network and no script needed, drawn from the data of `report.json`."""

from pathlib import Path
from typing import Any

from edgex_converters.report import flow
from edgex_converters.report.confusion import greatest_changes, matrices
from edgex_converters.report.headline import three_digits, tiles
from edgex_converters.report.layers import bars
from edgex_converters.report.photos import disagreements
from edgex_converters.report.repairs import repair_curves
from edgex_converters.report.scatter import scatter
from edgex_converters.stage import load_entry
from edgex_runtime.atomic import atomic_write

_TEMPLATES = Path(__file__).with_name("templates")


def write_html(report: dict[str, Any], path: Path) -> None:
    """Draw the page, atomically.

    Whatever comes from a file's name, a label or a tool is escaped, and the page's own policy lets a browser load
    nothing but what stands in it.

    Args:
        report: Of `report_of`; the photos that it names are read for their thumbnails.
        path: Where to.

    Raises:
        ImageError: If such a photo cannot be read any more.
    """
    page = (
        templates()
        .get_template("page.html.j2")
        .render(
            report=report,
            tiles=tiles(report),
            flow=flow,
            three_digits=three_digits,
            plots=(("wide", scatter(report, 1080, 340)), ("tall", scatter(report, 358, 340))),
            layers=bars(report),
            repairs=repair_curves(report),
            disagreements=disagreements(report),
            matrices=matrices(report),
            changes=greatest_changes(report),
        )
    )
    with atomic_write(path) as file:
        file.write(page.encode())


def templates() -> Any:
    """The page's templates, a jinja2 environment: all that is filled in is escaped, and a misspelt name is an error."""
    return load_entry("jinja2:Environment")(
        loader=load_entry("jinja2:FileSystemLoader")(_TEMPLATES),
        undefined=load_entry("jinja2:StrictUndefined"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
