"""`report.html`: a conversion as one page, no network needed, drawn from the same data as `report.json`."""

import base64
import io
from pathlib import Path
from typing import Any

from edgex_converters.report import scatter
from edgex_converters.report.layers import bars
from edgex_converters.result import Conversion
from edgex_converters.stage import load_entry
from edgex_runtime.atomic import atomic_write
from edgex_runtime.image import read_image

_TEMPLATE = Path(__file__).with_name("page.html.j2")
_MOST_PHOTOS = 12
_THUMBNAIL_PX = 160


def write_html(report: dict[str, Any], conversion: Conversion, path: Path) -> None:
    """Draw the page, atomically.

    Args:
        report: Of `report_of`.
        conversion: The same conversion: its photos are shown where artifacts disagree.
        path: Where to.
    """
    environment = load_entry("jinja2:Environment")(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        report=report,
        plot=scatter.points(report),
        layers=bars(report),
        photos=_photos(report, conversion),
    )
    with atomic_write(path) as file:
        file.write(page.encode())


def _photos(report: dict[str, Any], conversion: Conversion) -> list[dict[str, Any]]:
    """The photos on which most artifacts disagree with the network, with who said what."""
    said: dict[str, list[str]] = {}
    facts: dict[str, dict[str, str]] = {}
    for artifact in report["artifacts"]:
        for entry in artifact.get("disagreements", ()):
            said.setdefault(entry["photo"], []).append(
                f"{artifact['format']} {artifact['precision']}: {entry['artifact']}"
            )
            facts[entry["photo"]] = entry
    chosen = sorted(said, key=lambda photo: (-len(said[photo]), photo))[:_MOST_PHOTOS]
    return [
        {
            "image": _thumbnail(Path(photo)),
            "label": facts[photo]["label"],
            "reference": facts[photo]["reference"],
            "said": said[photo],
        }
        for photo in chosen
    ]


def _thumbnail(path: Path) -> str:
    """A small JPEG as a data URL."""
    from PIL import Image

    picture = Image.fromarray(read_image(path))
    picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
