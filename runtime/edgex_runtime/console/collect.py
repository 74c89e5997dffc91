"""Saves frames from the camera as training photos: one folder a class, as `edgex train` reads them."""

import datetime
import re
import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgex_runtime.atomic import atomic_write
from edgex_runtime.errors import BadInputError
from edgex_runtime.image import is_image_file

JPEG_QUALITY = 95
MAX_NAME_BYTES = 100
# What some file system or shell reads as more than a letter of a name.
_FORBIDDEN = frozenset('/\\<>:"|?*')


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A frame that was kept.

    Attributes:
        file: Its path below the folder, with ``/``.
        label: Its class.
        count: How many pictures that class has now.
    """

    file: str
    label: str
    count: int


class Collector:
    """Writes into one folder; safe in any thread.

    Args:
        root: Is there.
        format: ``png`` keeps every byte, ``jpg`` is a tenth of the size at quality 95 without chroma subsampling.
    """

    def __init__(self, root: Path, format: Literal["png", "jpg"]) -> None:  # noqa: A002 (the option's word)
        self._root = root
        self._format = format

    def classes(self) -> tuple[str, ...]:
        """The classes that have a folder; none where the folder has gone, which `save` will say."""
        try:
            return tuple(sorted(one.name for one in self._root.iterdir() if one.is_dir() and one.name[0] != "."))
        except OSError:
            return ()

    def save(self, image: NDArray[np.uint8], label: str) -> Saved:
        """Keep one picture, under a name of its own.

        Args:
            image: (H, W, 3) uint8 RGB, as the camera gave it.
            label: The class, as a person typed it.

        Raises:
            BadInputError: If it cannot be a folder's name, or the disk refuses.
        """
        label = check_class_name(label)
        try:
            folder = self._folder(label)
            now = datetime.datetime.now(datetime.timezone.utc)
            path = folder / f"{now:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}.{self._format}"
            with atomic_write(path) as file:
                if self._format == "png":
                    Image.fromarray(image).save(file, format="PNG", compress_level=3)
                else:
                    Image.fromarray(image).save(file, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
            count = sum(is_image_file(one) and not one.name.startswith(".") for one in folder.iterdir())
        except OSError as error:
            raise BadInputError(f"{label}: the frame cannot be saved: {error.strerror or error}") from error
        return Saved(file=f"{label}/{path.name}", label=label, count=count)

    def _folder(self, label: str) -> Path:
        root = self._root.resolve()
        folder = root / label
        # A link inside the folder may lead out of it.
        if folder.resolve().parent != root:
            raise BadInputError(f"{label}: that folder is a link to somewhere else, where nothing is saved")
        folder.mkdir(exist_ok=True)
        return folder


def check_class_name(name: str) -> str:
    """What a person typed → a folder's name.

    Raises:
        BadInputError: If it is empty, too long, hidden, or holds what a path, a shell or another system would obey.
    """
    name = unicodedata.normalize("NFC", re.sub(r"\s+", " ", name).strip())
    wrong = not name or name.startswith(".") or name.endswith(".") or len(name.encode()) > MAX_NAME_BYTES
    if wrong or any(not one.isprintable() or one in _FORBIDDEN for one in name):
        raise BadInputError(
            f"class {name[:MAX_NAME_BYTES]!r}: want a name of 1 to {MAX_NAME_BYTES} bytes that does not begin or end "
            f"with a dot, without any of {' '.join(sorted(_FORBIDDEN))}"
        )
    return name
