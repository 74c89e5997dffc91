"""The table of sources: what a user types → the function that opens it, imported when it is asked for."""

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from edgex_runtime.clock import Clock, SystemClock
from edgex_runtime.errors import BadInputError
from edgex_runtime.sources.options import nearest
from edgex_runtime.sources.source import Source

Opener = Callable[[str, Clock], Source]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a source's opener is (``module:function``, called with the URI and the clock), and an example of a URI."""

    opener: str
    example: str


SOURCES = {
    "webcam": Entry(opener="edgex_runtime.sources.webcam:open_webcam", example="0"),
    "video": Entry(opener="edgex_runtime.sources.video:open_video", example="file.mp4"),
    "folder": Entry(opener="edgex_runtime.sources.folder:open_folder", example="photos/"),
    "browser": Entry(opener="edgex_runtime.sources.browser:open_browser", example="browser://"),
    "test": Entry(opener="edgex_runtime.sources.pattern:open_pattern", example="test://shapes"),
}
# Third parties add a scheme by an entry point of this group, named after the scheme: "acme" opens `acme://…`.
ENTRY_POINT_GROUP = "edgex.sources"
# Schemes that the design names and this version does not have: they get a straight answer instead of "no such file".
PLANNED = ("rtsp", "rtsps", "http", "https", "csi", "gst", "screen")


def open_source(uri: str, *, clock: Clock | None = None) -> Source:
    """Open a source: ``0``, ``/dev/video0``, ``file.mp4``, ``photos/``, ``'*.jpg'`` or ``test://shapes``.

    Args:
        uri: What the user typed. A name that exists as a file or folder is that, whatever characters it holds.
        clock: Stamps the frames, and paces the test pattern.

    Raises:
        BadInputError: If nothing by that name exists, this version cannot read it, or an option is unknown.
        SourceLostError: If a camera is not there or does not answer.
    """
    return _find_opener(uri)(uri, clock or SystemClock())


def _find_opener(uri: str) -> Opener:
    path = Path(uri)
    scheme = re.match(r"([a-z][a-z0-9+.-]*):(//)?", uri)
    exists = os.path.exists(uri)  # noqa: PTH110 - false, not OSError, for a name that no file can have
    if re.fullmatch(r"([0-9]{1,3}|/dev/video[0-9]{1,3})(\?.*)?", uri) and not (exists and path.is_file()):
        return _load(SOURCES["webcam"])
    if exists and path.is_dir():
        return _load(SOURCES["folder"])
    if exists:
        # Imported here, so that a camera's start does not wait for the image decoders.
        from edgex_runtime.image import is_image_file

        return _load(SOURCES["folder" if is_image_file(path) else "video"])
    if scheme:
        return _find_scheme(uri, scheme[1])
    if any(character in uri for character in "*?["):
        return _load(SOURCES["folder"])
    raise BadInputError(f"{uri or repr(uri)}: no such file, folder or camera; {_hint(path)}")


def _find_scheme(uri: str, scheme: str) -> Opener:
    if scheme in SOURCES and uri.startswith(f"{scheme}://"):
        return _load(SOURCES[scheme])
    plugins = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme in plugins:
        loaded: Opener = plugins[scheme].load()
        return loaded
    if scheme in PLANNED:
        raise BadInputError(f"{uri}: {scheme} sources are not in this version of edgex, which reads {_examples()}")
    schemes = {"browser": None, "test": None, **plugins}
    raise BadInputError(
        f"{uri}: unknown kind of source {scheme!r}; {nearest(scheme, schemes)}. A source is {_examples()}"
    )


def _load(entry: Entry) -> Opener:
    module, _, name = entry.opener.partition(":")
    opener: Opener = getattr(import_module(module), name)
    return opener


def _examples() -> str:
    return ", ".join(entry.example for entry in SOURCES.values()) + " or '*.jpg'"


def _hint(path: Path) -> str:
    folder = path.parent
    names = os.listdir(folder) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208 - as above
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {str(folder / near[0])!r}?" if near else f"a source is {_examples()}"
