"""Draws a result onto its picture: label, score bar, age and state, readable on light and dark, at any size."""

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.freshness import State
from edgex_runtime.sinks.lettering import Lettering
from edgex_runtime.sinks.sink import LiveResult

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
GUESS: Color = (203, 213, 225)
STATE_COLORS: dict[State, Color] = {
    State.LIVE: (74, 222, 128),
    State.STALE: (251, 191, 36),
    State.RECONNECTING: (251, 191, 36),
    State.LOST: (248, 113, 113),
    State.ENDED: (203, 213, 225),
}
STATE_WORDS = {
    State.STALE: "no new picture",
    State.RECONNECTING: "camera lost, reconnecting",
    State.LOST: "camera lost",
}
MAX_AGE_MS = 99_999
SHADES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things stand in a picture of one size, in pixels."""

    width: int
    height: int
    unit: int

    @classmethod
    def of(cls, image: Image) -> "Layout":
        """Scale everything by the shorter of width and 4/3 height, so that a portrait picture fits too."""
        height, width = image.shape[:2]
        return cls(width=width, height=height, unit=max(round(min(width, height * 4 / 3) / 25), 8))

    @property
    def margin(self) -> int:
        """Space at the sides."""
        return round(0.9 * self.unit)

    @property
    def label_px(self) -> int:
        """Size of the label's letters."""
        return round(1.35 * self.unit)

    @property
    def small_px(self) -> int:
        """Size of the state's letters."""
        return max(round(0.9 * self.unit), 10)

    @property
    def bar_y(self) -> int:
        """The score bar's middle."""
        return self.height - self.margin

    @property
    def bar_px(self) -> int:
        """The score bar's thickness."""
        return max(self.unit // 3, 4)

    @property
    def label_y(self) -> int:
        """The label's middle."""
        return self.bar_y - self.bar_px - round(0.95 * self.label_px)


class Annotator:
    """Draws results; keeps rendered words, so that a frame costs the blending only."""

    def __init__(self) -> None:
        self._letters = Lettering()
        self._shades: OrderedDict[tuple[int, int], Image] = OrderedDict()

    def draw(self, image: Image, result: LiveResult, *, title: str = "") -> Image:
        """Draw `result` on a copy.

        Args:
            image: (H, W, 3) uint8 RGB; is not changed. 64×48 and larger come out readable.
            result: Without a label the state is told in words, or the error.
            title: Stands at the top left; a source's name, where there are several.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        canvas = image.copy()
        layout = Layout.of(image)
        self._draw_shade(canvas, layout)
        label = result.shown_label
        if label is not None and result.score is not None:
            color = STATE_COLORS[result.state] if result.known else GUESS
            self._draw_score(canvas, layout, label, result.score, color)
        else:
            words = result.error or STATE_WORDS.get(result.state, "")
            self._write(canvas, words, x=layout.margin, y=layout.label_y, px=layout.label_px)
        self._draw_state(canvas, layout, result)
        if title:
            self._draw_title(canvas, layout, title)
        return canvas

    def _draw_shade(self, canvas: Image, layout: Layout) -> None:
        top = max(layout.label_y - 2 * layout.label_px, 0)
        strip = canvas[top:]
        shade = self._shades.get((len(strip), layout.width))
        if shade is None:
            # Rises to its full depth above the letters: white on it is legible over a white wall.
            ramp = np.clip(np.linspace(0, 2.2, len(strip)), 0, 1)
            kept = np.round(255 * (1 - 0.72 * ramp * ramp * (3 - 2 * ramp))).astype(np.uint8)
            shade = np.ascontiguousarray(np.broadcast_to(kept[:, None, None], strip.shape))
            self._shades[len(strip), layout.width] = shade
            if len(self._shades) > SHADES:
                self._shades.popitem(last=False)
        cv2.multiply(strip, shade, dst=strip, scale=1 / 255)

    def _draw_score(self, canvas: Image, layout: Layout, label: str, score: float, color: Color) -> None:
        left, right = layout.margin, layout.width - layout.margin
        percent = f"{round(100 * score)} %"
        percent_px = self._letters.width(percent, layout.label_px)
        self._write(canvas, percent, x=right - percent_px, y=layout.label_y, px=layout.label_px)
        room = right - percent_px - layout.unit - left
        self._write(canvas, label, x=left, y=layout.label_y, px=layout.label_px, room=room)
        # Lines with round ends; the inset keeps the ends inside the margins.
        left, right = left + layout.bar_px // 2, right - layout.bar_px // 2
        _draw_bar(canvas, left, right, layout, (112, 112, 112))
        _draw_bar(canvas, left, left + round((right - left) * min(max(score, 0.0), 1.0)), layout, color)

    def _draw_state(self, canvas: Image, layout: Layout, result: LiveResult) -> None:
        text = result.state.value
        if result.age_ms is not None:
            text += f"  {min(round(result.age_ms), MAX_AGE_MS)} ms"
        if result.reused:
            text += "  still"
        px = layout.small_px
        height = round(1.7 * px)
        dot = max(px // 3, 3)
        width = self._letters.width(text, px) + 4 * dot + height // 2
        x, y = layout.width - layout.margin - width, layout.margin // 2 + height // 2
        _darken_pill(canvas, x, y, width, height)
        center = (x + height // 2 + dot // 2, y)
        cv2.circle(canvas, center, dot, STATE_COLORS[result.state], -1, cv2.LINE_AA)
        self._write(canvas, text, x=center[0] + 2 * dot, y=y, px=px)

    def _draw_title(self, canvas: Image, layout: Layout, title: str) -> None:
        px = layout.small_px
        height = round(1.7 * px)
        y = layout.margin // 2 + height // 2
        # The other half is the state's.
        room = layout.width // 2 - layout.margin - height
        width = min(self._letters.width(title, px), max(room, 0)) + height
        _darken_pill(canvas, layout.margin, y, width, height)
        self._write(canvas, title, x=layout.margin + height // 2, y=y, px=px, room=room)

    def _write(self, canvas: Image, text: str, *, x: int, y: int, px: int, room: int | None = None) -> None:
        """Blend white `text`, its middle line at `y`, cut to `room` pixels (all that is left of the picture)."""
        room = canvas.shape[1] - x if room is None else room
        mask = self._letters.render(text, px, max(room, 0))
        top = y - mask.shape[0] // 2
        # What sticks out of a very small picture is cut off.
        mask = mask[max(-top, 0) :, max(-x, 0) :]
        patch = canvas[max(top, 0) :, max(x, 0) :][: mask.shape[0], : mask.shape[1]]
        mask = mask[: patch.shape[0], : patch.shape[1]]
        if patch.size:
            cv2.add(cv2.multiply(patch, 255 - mask, scale=1 / 255), mask, dst=patch)


def _draw_bar(canvas: Image, left: int, right: int, layout: Layout, color: Color) -> None:
    cv2.line(canvas, (left, layout.bar_y), (max(right, left), layout.bar_y), color, layout.bar_px, cv2.LINE_AA)


def _darken_pill(canvas: Image, x: int, y: int, width: int, height: int) -> None:
    top, left = max(y - height // 2, 0), max(x, 0)
    patch = canvas[top : y + height // 2 + 1, left : x + width]
    if not patch.size:
        return
    dark = patch.copy()
    radius = height // 2
    cv2.line(
        dark, (radius, radius), (max(patch.shape[1] - 1 - radius, radius), radius), (16, 16, 16), height, cv2.LINE_AA
    )
    cv2.addWeighted(dark, 0.72, patch, 0.28, 0, dst=patch)
