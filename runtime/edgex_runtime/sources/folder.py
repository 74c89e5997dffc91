"""Pictures from a folder, a quoted glob or one file: every one of them, in the order a person would count them."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, ImageError
from edgex_runtime.image import is_image_file, read_image
from edgex_runtime.sources.source import Frame, SourceInfo, Unreadable


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 2 before 10.

    >>> sorted(["img10.png", "img2.png", "a.png"], key=natural_key)
    ['a.png', 'img2.png', 'img10.png']
    """
    # ASCII digits only: `\\d` also matches digits of other scripts and "²", which int() may refuse.
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)]


class FolderSource:
    """Reads `files` in order; one that cannot be read is reported in its place."""

    def __init__(self, files: Sequence[tuple[str, Path]], *, name: str, clock: Clock) -> None:
        """Hold `files`, each with the name to show."""
        self._files = files
        self._info = SourceInfo(name=name, live=False)
        self._clock = clock
        self._index = 0

    @property
    def info(self) -> SourceInfo:
        """Not live, and without a frame rate."""
        return self._info

    def read(self) -> Frame | Unreadable | None:
        """The next picture."""
        index = self._index
        if index >= len(self._files):
            return None
        self._index += 1
        name, path = self._files[index]
        asked_ns = self._clock.now_ns()
        try:
            image = read_image(path)
        except ImageError as error:
            return Unreadable(index=index, captured_ns=asked_ns, name=name, error=str(error))
        return Frame(image=image, index=index, captured_ns=asked_ns, name=name)

    def close(self) -> None:
        """Nothing is held open between pictures."""
        self._index = len(self._files)


def open_folder(uri: str, clock: Clock) -> FolderSource:
    """Find the pictures of a folder (with its subfolders, hidden ones left out), a glob, or one file.

    Raises:
        BadInputError: If there is none.
    """
    path = Path(uri)
    if path.is_dir():
        found = [(str(file.relative_to(path)), file) for file in path.rglob("*") if is_image_file(file)]
        found = [(name, file) for name, file in found if not any(part.startswith(".") for part in Path(name).parts)]
        wanted = "no .jpg, .png or other picture is in this folder or below it"
    elif path.exists():
        found, wanted = [(path.name, path)], ""
    else:
        found = [(name, Path(name)) for name in glob.glob(uri, recursive=True)]  # noqa: PTH207 - takes absolute patterns
        wanted = "no file matches this pattern; quote it, so that the shell leaves it alone"
    files = sorted(((name, file) for name, file in found if file.is_file()), key=lambda item: natural_key(item[0]))
    if not files:
        raise BadInputError(f"{shown(uri)}: {wanted}")
    return FolderSource(files, name=shown(uri), clock=clock)
