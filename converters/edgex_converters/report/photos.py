"""The photos on which artifacts and the network disagree, small enough to stand inside the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgex_runtime.image import read_image

_MOST = 24
_SIDE_PX = 208


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Who said what."""

    who: str
    label: str
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A photo, its true label, and the answers: the network's first, then those that differ from it."""

    image: str
    name: str
    label: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreements:
    """The photos that are shown, and of how many."""

    photos: tuple[Disagreement, ...]
    found: int


def disagreements(report: dict[str, Any]) -> Disagreements:
    """Those on which most artifacts disagree come first.

    Raises:
        ImageError: If a photo cannot be read any more.
    """
    said: dict[str, list[Answer]] = {}
    facts: dict[str, dict[str, str]] = {}
    for artifact in report["artifacts"]:
        for entry in artifact.get("disagreements", ()):
            who = f"{artifact['format']} {artifact['precision']}"
            answer = Answer(who=who, label=entry["artifact"], right=entry["artifact"] == entry["label"])
            said.setdefault(entry["photo"], []).append(answer)
            facts[entry["photo"]] = entry
    chosen = sorted(said, key=lambda photo: (-len(said[photo]), photo))[:_MOST]
    return Disagreements(
        photos=tuple(_disagreement(Path(photo), facts[photo], said[photo]) for photo in chosen), found=len(said)
    )


def _disagreement(path: Path, fact: dict[str, str], said: list[Answer]) -> Disagreement:
    network = Answer(who="network", label=fact["reference"], right=fact["reference"] == fact["label"])
    return Disagreement(
        image=_thumbnail(path),
        name=f"{path.parent.name}/{path.name}",
        label=fact["label"],
        answers=(network, *said),
    )


def _thumbnail(path: Path) -> str:
    """A small JPEG as a data URL."""
    from PIL import Image

    picture = Image.fromarray(read_image(path))
    picture.thumbnail((_SIDE_PX, _SIDE_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
