"""One picture of several sources: each has its place in a grid, and keeps its last picture there."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.address import shown
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame

Image = NDArray[np.uint8]
Size = tuple[int, int]

MAX_SIZE = (1920, 1080)
BLANK_SIZE = (640, 360)
CELL_SIZE = (640, 360)


class Mosaic:
    """What is shown of each source, by its name; the first results decide the order."""

    def __init__(self, sources: int) -> None:
        """Store.

        Args:
            sources: How many there will be. Of several each has a cell of `CELL_SIZE`; a single one's picture has its
                own size, 1920×1080 at most, unless `settle` says otherwise.
        """
        self._settled: Size | None = None
        self._several = sources > 1
        self._columns = math.ceil(math.sqrt(sources))
        self._rows = math.ceil(sources / self._columns)
        self._bare: dict[str, Image] = {}
        self._drawn: dict[str, Image] = {}

    def settle(self, image: Image) -> Size:
        """Keep the size that `image`, the first one, leads to: within 1920×1080, and even, as video players want it.

        Returns:
            Width and height of all that `put` returns from now on.
        """
        height, width = (self._rows * CELL_SIZE[1], self._columns * CELL_SIZE[0]) if self._several else image.shape[:2]
        scale = min(MAX_SIZE[0] / width, MAX_SIZE[1] / height, 1.0)
        self._settled = max(round(width * scale) // 2 * 2, 2), max(round(height * scale) // 2 * 2, 2)
        return self._settled

    def canvas(self, frame: Frame | None, result: LiveResult) -> Image:
        """The picture to draw `result` on: the frame's, or its source's last one if the result only tells a state.

        Returns:
            (H, W, 3) uint8 RGB, in the size that it is shown in; not to be drawn on.
        """
        if frame is not None:
            size = CELL_SIZE if self._several else self._settled
            image = shrink(frame.image, MAX_SIZE) if size is None else fit(frame.image, size)
            self._bare[result.source] = image
            return image
        last = self._bare.get(result.source)
        if last is not None and result.index is None:
            return last
        size = CELL_SIZE if self._several else self._settled or BLANK_SIZE
        return blank(size)

    def title(self, result: LiveResult) -> str:
        """What to write above the source's picture: its name, where there are several."""
        return shown(result.source) if self._several else ""

    def put(self, source: str, drawn: Image) -> Image:
        """Put a source's picture into its place.

        Returns:
            All of them; the picture itself where there is only one source.
        """
        if not self._several:
            return drawn
        self._drawn[source] = drawn
        width, height = CELL_SIZE
        canvas = blank((self._columns * width, self._rows * height))
        for place, picture in enumerate(self._drawn.values()):
            top, left = place // self._columns * height, place % self._columns * width
            canvas[top : top + height, left : left + width] = fit(picture, CELL_SIZE)
        return shrink(canvas, MAX_SIZE) if self._settled is None else fit(canvas, self._settled)


def shrink(image: Image, largest: Size) -> Image:
    """Scale `image` down so that it lies within `largest` (width, height)."""
    height, width = image.shape[:2]
    scale = min(largest[0] / width, largest[1] / height)
    if scale >= 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def fit(image: Image, size: Size) -> Image:
    """Scale `image` into `size` (width, height), black at the sides where the shapes differ."""
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    canvas = blank(size)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas


def blank(size: Size) -> Image:
    """Black, (height, width, 3) for a size of (width, height)."""
    return np.zeros((size[1], size[0], 3), dtype=np.uint8)
