"""Words as masks, in any script: by OpenCV 5's own fonts, or by Pillow where OpenCV is older. Each is rendered once."""

import logging
from collections import OrderedDict
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

logger = logging.getLogger(__name__)

CACHE_WORDS = 512
MAX_LETTERS = 200
"""No picture is wide enough for more, and measuring costs."""
LINE_HEIGHT = 1.3
"""In sizes of the letters."""
# Tried in order for what Pillow's own font (ASCII only) has no letters for; Pillow finds them in the system's folders.
SYSTEM_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc")
NO_LETTER = "\U0010ffff"
ELLIPSIS = "…"

Mask = NDArray[np.uint8]


class Pen(Protocol):
    """Measures and draws one line of text."""

    def measure(self, text: str, px: int) -> int:
        """Width in pixels of `text` in letters of size `px`."""
        ...

    def draw(self, text: str, px: int, width: int) -> Mask:
        """Draw into (round(LINE_HEIGHT * px), width) uint8, 255 where the ink is."""
        ...


class OpenCvPen:
    """OpenCV 5 carries a font for Latin, Greek, Cyrillic and, where built with it, Chinese and Japanese."""

    WEIGHT = 400

    def __init__(self) -> None:
        self._face = cv2.FontFace("sans")

    def measure(self, text: str, px: int) -> int:
        """Width including the room after the last letter."""
        left, _, width, _ = cv2.getTextSize((1 << 15, 2 * px), text, (0, px), self._face, px, self.WEIGHT)
        return left + width

    def draw(self, text: str, px: int, width: int) -> Mask:
        """Draw with the base line where Latin letters come to stand in the middle."""
        canvas = np.zeros((round(LINE_HEIGHT * px), width), dtype=np.uint8)
        cv2.putText(canvas, text, (0, round((LINE_HEIGHT / 2 + 0.36) * px)), (255,), self._face, px, self.WEIGHT)
        return canvas


class PillowPen:
    """Pillow's own font knows ASCII; for the rest the system must have a font."""

    def __init__(self) -> None:
        self._warned = False

    def measure(self, text: str, px: int) -> int:
        """Width of the letters."""
        return int(np.ceil(self._font(text, px).getlength(text)))

    def draw(self, text: str, px: int, width: int) -> Mask:
        """Draw with the letters in the middle."""
        canvas = Image.new("L", (width, round(LINE_HEIGHT * px)))
        font = self._font(text, px)
        ImageDraw.Draw(canvas).text((0, canvas.height / 2), text, font=font, fill=255, anchor="lm")
        return np.asarray(canvas)

    def _font(self, text: str, px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        default = ImageFont.load_default(px)
        if _can_write(default, text):
            return default
        fonts = [font for name in SYSTEM_FONTS if (font := _load(name, px)) is not None]
        for font in fonts:
            if _can_write(font, text):
                return font
        if not self._warned:
            self._warned = True
            logger.warning("no font here can write %r: install one, such as the package fonts-noto-cjk", text)
        return fonts[0] if fonts else default


class Lettering:
    """Renders text; remembers the last `CACHE_WORDS` renderings."""

    def __init__(self, pen: Pen | None = None) -> None:
        """Write with `pen`, or with the best that is here."""
        self._pen = pen or (OpenCvPen() if hasattr(cv2, "FontFace") else PillowPen())
        self._masks: OrderedDict[tuple[str, int, int], Mask] = OrderedDict()

    def width(self, text: str, px: int) -> int:
        """Width in pixels of `text` in letters of size `px`."""
        width: int = self.render(text, px, 1 << 15).shape[1]
        return width

    def render(self, text: str, px: int, room: int) -> Mask:
        """Render one line.

        Args:
            text: Line breaks and other control characters become spaces.
            px: Size of the letters.
            room: Width in pixels; a longer text is cut and ends in an ellipsis.

        Returns:
            (line height, width ≤ `room`, 3) uint8, 255 where the ink is: three equal channels, for blending into RGB.
        """
        key = (text, px, room)
        mask = self._masks.get(key)
        if mask is None:
            mask = self._masks[key] = self._render(text, px, max(room, 0))
            if len(self._masks) > CACHE_WORDS:
                self._masks.popitem(last=False)
        else:
            self._masks.move_to_end(key)
        return mask

    def _render(self, text: str, px: int, room: int) -> Mask:
        line = "".join(letter if letter.isprintable() else " " for letter in text[:MAX_LETTERS])
        width = self._pen.measure(line, px)
        while line and width > room:
            line = line.removesuffix(ELLIPSIS)[:-1].rstrip()
            line += ELLIPSIS if line else ""
            width = self._pen.measure(line, px)
        if not line or not width:
            return np.zeros((round(LINE_HEIGHT * px), 0, 3), dtype=np.uint8)
        return np.ascontiguousarray(np.repeat(self._pen.draw(line, px, width)[:, :, None], 3, axis=2))


@lru_cache(maxsize=64)
def _load(name: str, px: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, px)
    except OSError:
        return None


def _can_write(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> bool:
    missing = bytes(font.getmask(NO_LETTER))
    return all(letter == " " or bytes(font.getmask(letter)) != missing for letter in set(text))
