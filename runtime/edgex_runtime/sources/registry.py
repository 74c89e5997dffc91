"""The table of sources: what a user types → the function that opens it, imported when it is asked for."""

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock, SystemClock
from edgex_runtime.errors import BadInputError, MissingExtraError
from edgex_runtime.sources.options import nearest
from edgex_runtime.sources.source import Source

Opener = Callable[[str, Clock], Source]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kind of source.

    Attributes:
        opener: ``module:function``, called with the URI and the clock.
        example: Of a URI.
        schemes: What stands before the ``:``; none for a kind that is known by its name's form.
        vendors: The packages whose absence means that the extra is missing.
        extra: What to install then.
    """

    opener: str
    example: str
    schemes: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    extra: str = ""


SOURCES = {
    "webcam": Entry(opener="edgex_runtime.sources.webcam:open_webcam", example="0", extra="jpeg"),
    "video": Entry(opener="edgex_runtime.sources.video:open_video", example="file.mp4"),
    "folder": Entry(opener="edgex_runtime.sources.folder:open_folder", example="photos/"),
    "mjpeg": Entry(
        opener="edgex_runtime.sources.mjpeg:open_mjpeg",
        example="http://camera/video.mjpg",
        schemes=("http", "https"),
        vendors=("simplejpeg",),
        extra="jpeg",
    ),
    "rtsp": Entry(
        opener="edgex_runtime.sources.rtsp:open_rtsp",
        example="rtsp://camera/stream",
        schemes=("rtsp", "rtsps"),
        vendors=("av",),
        extra="stream",
    ),
    "gst": Entry(
        opener="edgex_runtime.sources.gstreamer:open_gst", example="'gst:v4l2src ! videoscale'", schemes=("gst",)
    ),
    "csi": Entry(opener="edgex_runtime.sources.csi:open_csi", example="csi://0", schemes=("csi",)),
    "screen": Entry(
        opener="edgex_runtime.sources.screen:open_screen",
        example="screen://",
        schemes=("screen",),
        vendors=("mss",),
        extra="screen",
    ),
    "stdin": Entry(opener="edgex_runtime.sources.stdin:open_stdin", example="'-?size=640x480'"),
    "browser": Entry(opener="edgex_runtime.sources.browser:open_browser", example="browser://", schemes=("browser",)),
    "test": Entry(opener="edgex_runtime.sources.pattern:open_pattern", example="test://shapes", schemes=("test",)),
}
WEBCAM = r"([0-9]{1,3}|/dev/video[0-9]{1,3}|/dev/v4l/by-(id|path)/[^?]+)(\?.*)?"
# Third parties add a scheme by an entry point of this group, named after the scheme: "acme" opens `acme://…`.
ENTRY_POINT_GROUP = "edgex.sources"


def open_source(uri: str, *, clock: Clock | None = None) -> Source:
    """Open a source: ``0``, ``file.mp4``, ``photos/``, ``rtsp://camera/1``, ``test://shapes``; see docs/sources.md.

    Args:
        uri: What the user typed. A name that exists as a file or folder is that, whatever characters it holds.
        clock: Stamps the frames, and paces the test pattern.

    Raises:
        BadInputError: If nothing by that name exists, this version cannot read it, or an option is unknown.
        MissingExtraError: If what reads this kind of source is not installed.
        SourceLostError: If a camera is not there or does not answer.
    """
    return _find_opener(uri)(uri, clock or SystemClock())


def _find_opener(uri: str) -> Opener:
    path = Path(uri)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?", uri)
    exists = os.path.exists(uri)  # noqa: PTH110 - false, not OSError, for a name that no file can have
    if re.fullmatch(WEBCAM, uri) and not (exists and path.is_file()):
        return _load(SOURCES["webcam"])
    if re.fullmatch(r"-(\?.*)?", uri):
        return _load(SOURCES["stdin"])
    if exists and path.is_dir():
        return _load(SOURCES["folder"])
    if exists:
        # Imported here, so that a camera's start does not wait for the image decoders.
        from edgex_runtime.image import is_image_file

        return _load(SOURCES["folder" if is_image_file(path) else "video"])
    # `user:password@camera` looks like a scheme, too; only one of ours may do without the slashes.
    if scheme and (scheme[2] or scheme[1].lower() in _schemes()):
        return _find_scheme(uri, scheme[1].lower())
    if any(character in uri for character in "*?["):
        return _load(SOURCES["folder"])
    raise BadInputError(f"{shown(uri) or repr(uri)}: no such file, folder or camera; {_hint(path)}")


def _find_scheme(uri: str, scheme: str) -> Opener:
    known = _schemes()
    if scheme in known:
        return _load(known[scheme])
    # Imported here: it brings 2 MB of modules, which a board that runs what we ship never needs.
    from importlib.metadata import entry_points

    plugins = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme in plugins:
        loaded: Opener = plugins[scheme].load()
        return loaded
    near = nearest(scheme, {**known, **plugins})
    raise BadInputError(f"{shown(uri)}: unknown kind of source {scheme!r}; {near}. A source is {_examples()}")


def _schemes() -> dict[str, Entry]:
    return {name: entry for entry in SOURCES.values() for name in entry.schemes}


def _load(entry: Entry) -> Opener:
    module, _, name = entry.opener.partition(":")
    try:
        opener: Opener = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        # Only the vendor's absence: a module of ours that is not there is a bug to be seen.
        if error.name not in entry.vendors:
            raise
        raise MissingExtraError(
            f"{entry.example}: {error.name} is not installed: pip install 'edgex[{entry.extra}]'"
        ) from error
    return opener


def _examples() -> str:
    return ", ".join(entry.example for entry in SOURCES.values()) + " or '*.jpg'"


def _hint(path: Path) -> str:
    folder = path.parent
    names = os.listdir(folder) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208 - as above
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {str(folder / near[0])!r}?" if near else f"a source is {_examples()}"
