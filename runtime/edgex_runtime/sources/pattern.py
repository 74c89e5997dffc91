"""`test://shapes`: a camera that is always there. Hand-drawn shapes move over paper, the same for the same seed."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.address import shown
from edgex_runtime.clock import Clock
from edgex_runtime.errors import BadInputError, SourceLostError
from edgex_runtime.sources.faults import Faults, Outages, read_damaged
from edgex_runtime.sources.options import (
    Size,
    nearest,
    parse_count,
    parse_fps,
    parse_options,
    parse_seconds,
    parse_seed,
    parse_share,
    parse_size,
)
from edgex_runtime.sources.source import Frame, SourceInfo, Unreadable

SHAPES = ("circle", "square", "triangle", "star", "cross")
SHAPE_S = 2.0
"""How long one shape is shown, and how long the picture moves between two freezes."""
INK_RGB = ((28, 40, 96), (120, 24, 32), (24, 88, 48), (40, 36, 40))
OPTIONS = {
    "size": parse_size,
    "fps": parse_fps,
    "drop": parse_share,
    "freeze": parse_seconds,
    "frames": parse_count,
    "seed": parse_seed,
    "corrupt": parse_share,
    "black": parse_seconds,
    "stall": parse_seconds,
    "disconnect": parse_seconds,
    "resize": parse_seconds,
    "every": parse_seconds,
}
WAIT_S = 0.1
"""Longest sleep before the camera looks whether it is being closed."""
OUTAGES = Outages()
"""Which cameras refuse to be opened, and until when: the one thing that has to outlive the camera itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternOptions:
    """What the test camera does.

    Attributes:
        size: Width and height in pixels.
        fps: Frames per second.
        drop: Share of the frames that get lost on the way, 0..1.
        freeze: Seconds for which the camera repeats one frame, after every two seconds of movement; 0 never.
        frames: The camera ends after this many, lost ones counted; None never ends.
        seed: Decides everything that is drawn, lost and damaged.
        corrupt: Share of the frames that arrive damaged, 0..1.
        black: Seconds of black frames; 0 never. This and the next two take turns, one `every` so many seconds.
        stall: Seconds without a frame.
        disconnect: Seconds for which the camera is lost and refuses to be opened.
        resize: Seconds after which the frames' size changes, again and again; 0 never.
        every: Seconds from one of the faults that take turns to the next.
    """

    size: Size = (640, 480)
    fps: float = 30.0
    drop: float = 0.0
    freeze: float = 0.0
    frames: int | None = None
    seed: int = 0
    corrupt: float = 0.0
    black: float = 0.0
    stall: float = 0.0
    disconnect: float = 0.0
    resize: float = 0.0
    every: float = 10.0

    @property
    def faults(self) -> Faults:
        """Those that take turns."""
        return Faults(black=self.black, stall=self.stall, disconnect=self.disconnect, every=self.every)


class PatternSource:
    """Paced by its clock like a camera: a frame that nobody fetches in time is lost."""

    def __init__(self, options: PatternOptions, *, name: str, clock: Clock) -> None:
        """Hold the options; time starts with the first read."""
        self._options = options
        self._name = name
        self._clock = clock
        self._papers: dict[Size, NDArray[np.uint8]] = {}
        self._start_ns: int | None = None
        self._index = 0
        self._closed = False

    @property
    def info(self) -> SourceInfo:
        """Live, with the frame rate that was asked for."""
        return SourceInfo(name="test://shapes", live=True, fps=self._options.fps)

    def read(self) -> Frame | Unreadable | None:
        """Wait for the next frame that is not lost.

        Raises:
            SourceLostError: When it is time to `disconnect`.
        """
        options = self._options
        period_ns = 1e9 / options.fps
        # Drawn before the time of the first picture begins: at 4K it takes as long as many pictures.
        self._paper(self._size(0))
        now_ns = self._clock.now_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        # The frame that the camera is about to take, or the next one that is due.
        index = max(self._index, int((now_ns - self._start_ns) // period_ns))
        while self._is_lost(index):
            index += 1
        self._index = index + 1
        if self._closed or (options.frames is not None and index >= options.frames):
            return None
        due_ns = self._start_ns + round(index * period_ns)
        if not self._wait_until(due_ns):
            return None
        fault = options.faults.at(index / options.fps)
        if fault == "disconnect":
            OUTAGES.begin(self._name, self._clock, options.disconnect)
            raise SourceLostError(f"{self.info.name}: disconnected, as asked for")
        image, shape = self._draw(shown_index(index, options))
        captured_ns = max(due_ns, now_ns)
        name = f"{shape}#{index}"
        rng = np.random.default_rng((options.seed, 5, index))
        if options.corrupt and rng.random() < options.corrupt:
            return Unreadable(index=index, captured_ns=captured_ns, name=name, error=read_damaged(image, name, rng))
        if fault == "black":
            image[:] = 0
        return Frame(image=image, index=index, captured_ns=captured_ns, name=name)

    def interrupt(self) -> None:
        """End a `read` that waits."""
        self._closed = True

    def close(self) -> None:
        """Stop: every later read is the end."""
        self._closed = True

    def _is_lost(self, index: int) -> bool:
        options = self._options
        if options.frames is not None and index >= options.frames:
            return False
        dropped = options.drop and np.random.default_rng((options.seed, 1, index)).random() < options.drop
        return bool(dropped) or options.faults.at(index / options.fps) == "stall"

    def _wait_until(self, due_ns: int) -> bool:
        """Sleep; False once the camera is closed."""
        while not self._closed and (left_ns := due_ns - self._clock.now_ns()) > 0:
            self._clock.sleep(min(left_ns / 1e9, WAIT_S))
        return not self._closed

    def _size(self, index: int) -> Size:
        """The whole size, half of it, and three quarters turned upright, one after the other."""
        width, height = self._options.size
        sizes = ((width, height), (width // 2, height // 2), (height * 3 // 4, width * 3 // 4))
        resize = self._options.resize
        return sizes[int(index / self._options.fps / resize) % len(sizes)] if resize else sizes[0]

    def _paper(self, size: Size) -> NDArray[np.uint8]:
        if size not in self._papers:
            self._papers[size] = _draw_paper(size, self._options.seed)
        return self._papers[size]

    def _draw(self, index: int) -> tuple[NDArray[np.uint8], str]:
        """Draw frame `index`, the same for the same seed: (H, W, 3) uint8 RGB, and the name of its shape."""
        rng = np.random.default_rng((self._options.seed, 0, index))
        period = round(SHAPE_S * self._options.fps) or 1
        # What belongs to the shape as a whole (its hand, its ink) comes from a seed of its own: it must not flicker.
        shape_rng = np.random.default_rng((self._options.seed, 2, index // period))
        order = np.random.default_rng((self._options.seed, 4)).permutation(len(SHAPES))
        shape = SHAPES[order[index // period % len(SHAPES)]]
        ink = INK_RGB[int(shape_rng.integers(len(INK_RGB)))]
        width, height = size = self._size(index)
        seconds = index / self._options.fps
        center = np.array([width * (0.5 + 0.16 * np.sin(1.3 * seconds)), height * (0.5 + 0.14 * np.cos(1.7 * seconds))])
        radius = min(width, height) * (0.28 + 0.04 * np.sin(0.9 * seconds))
        points = _outline(shape, shape_rng) @ _rotation(0.35 * np.sin(0.7 * seconds)).T * radius + center
        # A noise tile rolled by the frame's own offset: sensor noise, at a tenth of the cost of drawing it anew.
        image = np.roll(self._paper(size), tuple(rng.integers(0, 64, 2)), axis=(0, 1))
        thickness = max(2, round(radius / 9))
        line = [np.round(points * 8).astype(np.int32)]
        cv2.polylines(image, line, isClosed=True, color=ink, thickness=thickness, lineType=cv2.LINE_AA, shift=3)
        return image, shape


def shown_index(index: int, options: PatternOptions) -> int:
    """Which picture stands in frame `index`: during a freeze, the one before it.

    >>> options = PatternOptions(fps=10, freeze=1)
    >>> [shown_index(index, options) for index in (19, 20, 29, 30)]
    [19, 19, 19, 30]
    """
    moving = max(1, round(SHAPE_S * options.fps))
    cycle = moving + round(options.freeze * options.fps)
    return min(index, index // cycle * cycle + moving - 1) if index % cycle >= moving else index


def open_pattern(uri: str, clock: Clock) -> PatternSource:
    """Open ``test://shapes?size=640x480&fps=30&drop=5%&freeze=3s&frames=300&seed=1``, and the faults of `Faults`.

    Raises:
        BadInputError: If the pattern or an option is unknown, or the faults do not fit one after the other.
        SourceLostError: While the camera is disconnected, as was asked for.
    """
    name, _, query = uri.removeprefix("test://").partition("?")
    if name != "shapes":
        raise BadInputError(f"{shown(uri)}: unknown test pattern {shown(name)!r}; {nearest(name, {'shapes': None})}")
    options = PatternOptions(**parse_options(query, OPTIONS, where=uri))  # type: ignore[arg-type]
    options.faults.check(uri)
    OUTAGES.check(uri, clock)
    return PatternSource(options, name=uri, clock=clock)


def _draw_paper(size: Size, seed: int) -> NDArray[np.uint8]:
    width, height = size
    rng = np.random.default_rng((seed, 3))
    base = rng.uniform(205, 240, 3)
    # Light falls off smoothly and returns to where it began, so that rolling the paper shows no seam.
    light = 8 * np.sin(np.linspace(0, 2 * np.pi, width))[None, :, None]
    noise = rng.normal(0, 4, (height, width, 1))
    paper: NDArray[np.uint8] = np.clip(base + light + noise, 0, 255).astype(np.uint8)
    return paper


def _outline(shape: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Corner points of `shape` within the unit circle, joined by a line that wobbles: (N, 2)."""
    half_cross = np.array([(1, 3), (1, 1), (3, 1), (3, -1), (1, -1), (1, -3)], dtype=np.float64) / 3.2
    corners = {
        "circle": _polygon(48),
        "square": _polygon(4, turn=np.pi / 4),
        "triangle": _polygon(3, turn=-np.pi / 2),
        "star": _polygon(10, turn=-np.pi / 2) * np.tile([1.0, 0.42], 5)[:, None],
        "cross": np.concatenate([half_cross, -half_cross]),
    }[shape]
    closed = np.concatenate([corners, corners[:1]])
    steps = np.linspace(0, len(corners), 96, endpoint=False)
    line: NDArray[np.float64] = np.stack(
        [np.interp(steps, np.arange(len(closed)), closed[:, axis]) for axis in (0, 1)], axis=1
    )
    phase, size = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.01, 0.025, 4)
    turn = np.linspace(0, 2 * np.pi, len(line))
    wobble = np.stack([size[i] * np.sin((3 + 2 * i) * turn + phase[i]) for i in range(4)])
    line += np.stack([wobble[0] + wobble[1], wobble[2] + wobble[3]], axis=1)
    return line


def _polygon(corners: int, *, turn: float = 0.0) -> NDArray[np.float64]:
    angles = np.arange(corners) * 2 * np.pi / corners + turn
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
