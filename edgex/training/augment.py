"""What a training photo goes through before the network sees it: one geometric warp, one colour matrix, a poor camera.

Every draw comes from the generator that is passed in, so a photo's fate depends on (seed, epoch, index) and on nothing
else: not on the number of threads, not on the order in which they run.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far a photo may be changed; the label must survive the furthest.

    Attributes:
        size: Height and width of the result, pixels.
        keep_aspect: The network sees photos undistorted (resize ``crop`` and ``letterbox``); else a crop is
            stretched as its photo is at run time, and only jittered about that.
        flip: Mirror left to right, one photo in two.
        min_scale: Smallest share of the area that a crop keeps, (0, 1].
        rotate_deg: Largest rotation either way.
        color: Strength of brightness, contrast, saturation and hue jitter, 0..1.
        degrade: Probability of each of blur, noise and JPEG artefacts.
        erase: Probability of an erased rectangle (Zhong et al. 2017, arXiv:1708.04896).
    """

    size: int
    keep_aspect: bool
    flip: bool = True
    min_scale: float = 0.4
    rotate_deg: float = 10.0
    color: float = 0.3
    degrade: float = 0.15
    erase: float = 0.0

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """One random view of a photo.

        Args:
            image: (H, W, 3) RGB, 0..255; left as it is.
            rng: Source of every random choice.

        Returns:
            (size, size, 3) RGB, C-contiguous.
        """
        view = self._warp(image, rng)
        if self.color:
            view = _jitter_color(view, self.color, rng)
        for poor_camera in (_blur, _noise, _jpeg):
            if rng.random() < self.degrade:
                view = poor_camera(view, rng)
        if rng.random() < self.erase:
            _erase(view, rng)
        return np.ascontiguousarray(view)

    def _warp(self, image: Image, rng: np.random.Generator) -> Image:
        """Random resized crop (Szegedy et al. 2014, arXiv:1409.4842), rotation and mirror in one interpolation."""
        height, width = image.shape[:2]
        scale = rng.uniform(self.min_scale, 1.0)
        stretch = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        aspect = stretch if self.keep_aspect else stretch * width / height
        crop_width = min(width, math.sqrt(scale * height * width * aspect))
        crop_height = min(height, math.sqrt(scale * height * width / aspect))
        center_x = width / 2 + rng.uniform(-0.5, 0.5) * (width - crop_width)
        center_y = height / 2 + rng.uniform(-0.5, 0.5) * (height - crop_height)
        angle = math.radians(rng.uniform(-self.rotate_deg, self.rotate_deg))
        mirror = -1.0 if self.flip and rng.random() < 0.5 else 1.0
        # From a pixel of the view to the point of the photo that it shows: scale, mirror, rotate, move.
        scale_x, scale_y = mirror * crop_width / self.size, crop_height / self.size
        linear = np.array(
            [
                [math.cos(angle) * scale_x, -math.sin(angle) * scale_y],
                [math.sin(angle) * scale_x, math.cos(angle) * scale_y],
            ]
        )
        # Pixel centres lie at +0.5: without it every view would shift by up to half a pixel with its scale.
        middle = self.size / 2 - 0.5
        offset = np.array([center_x - 0.5, center_y - 0.5]) - linear @ np.array([middle, middle])
        # A reflected border invents no edge that the class could be told by.
        return cv2.warpAffine(
            image,
            np.hstack([linear, offset[:, None]]),
            (self.size, self.size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        ).astype(np.uint8, copy=False)


def _jitter_color(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Hue, saturation, contrast and brightness are all linear in RGB: one matrix does the four."""
    brightness, contrast, saturation = 1 + strength * rng.uniform(-1, 1, 3)
    hue = rng.uniform(-1, 1) * strength * math.pi / 6
    rotate = np.array([[1, 0, 0], [0, math.cos(hue), -math.sin(hue)], [0, math.sin(hue), math.cos(hue)]])
    matrix = _FROM_YIQ @ rotate @ _TO_YIQ
    matrix = saturation * matrix + (1 - saturation) * np.outer(np.ones(3), _GREY)
    offset = (1 - contrast) * 127.5 * brightness
    return cv2.transform(image, np.hstack([matrix * contrast * brightness, np.full((3, 1), offset)])).astype(
        np.uint8, copy=False
    )


def _blur(image: Image, rng: np.random.Generator) -> Image:
    """Out of focus, or moved: a Gaussian of up to 1 % of the side."""
    sigma = float(rng.uniform(0.3, max(0.6, 0.01 * image.shape[0])))
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8, copy=False)


def _noise(image: Image, rng: np.random.Generator) -> Image:
    """A sensor in poor light: Gaussian noise of up to 12 grey levels."""
    sigma = np.float32(rng.uniform(2, 12))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= sigma
    noise += image
    np.clip(noise, 0, 255, out=noise)
    return noise.astype(np.uint8)


def _jpeg(image: Image, rng: np.random.Generator) -> Image:
    """Through a webcam's JPEG, quality 30 to 95."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))])
    decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert decoded is not None, "OpenCV reads the JPEG that it has just written"
    return decoded.astype(np.uint8, copy=False)


def _erase(image: Image, rng: np.random.Generator) -> None:
    """Hide 5 to 20 % of the area under one random colour."""
    side = image.shape[0]
    area = rng.uniform(0.05, 0.2) * side * side
    aspect = math.exp(rng.uniform(math.log(1 / 2), math.log(2)))
    height = min(side - 1, max(1, round(math.sqrt(area * aspect))))
    width = min(side - 1, max(1, round(math.sqrt(area / aspect))))
    top, left = int(rng.integers(side - height)), int(rng.integers(side - width))
    image[top : top + height, left : left + width] = rng.integers(0, 256, 3)
