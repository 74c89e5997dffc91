"""A cheap webcam: focus, motion, white balance, exposure, vignette, noise, sharpening and JPEG."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex.demo.texture import Canvas, pick, smooth_noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One camera in one light.

    Attributes:
        balance: Gain of R, G, B.
        exposure: The grey that the middle of the picture becomes, 0..1.
        contrast: Strength of the tone curve, 0 for none.
        black: Light that haze adds everywhere, 0..1.
        vignette: Light lost in the corners, 0..1.
        defocus_px: Sigma of the blur.
        noise: Standard deviation at middle grey, 0..1.
        blotches: Of coloured low-frequency noise, 0..1.
        sharpening: Of the halo at edges, 0 for none.
        jpeg_quality: 1..100.
    """

    balance: tuple[float, float, float]
    exposure: float
    contrast: float
    black: float
    vignette: float
    defocus_px: float
    noise: float
    blotches: float
    sharpening: float
    jpeg_quality: int

    def shoot(
        self, light: Canvas, rng: np.random.Generator, *, motion_px: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.uint8]:
        """Take a picture.

        Args:
            light: (H, W, 3) RGB, as `scene.compose` returns it.
            rng: Decides the noise.
            motion_px: x, y that the scene moves while the shutter is open.

        Returns:
            (H, W, 3) RGB, 0..255, as it comes out of the camera's own JPEG.
        """
        image = smear(light, motion_px)
        if self.defocus_px > 0.3:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.defocus_px), np.float32)
        # Exposure is metered in the middle, as webcams do: a white sheet darkens everything else.
        height, width = image.shape[:2]
        metered = float(image[height // 4 : -height // 4 : 4, width // 4 : -width // 4 : 4].mean())
        gain = self.exposure / max(0.05, metered)
        image = image * (np.asarray(self.balance, np.float32) * np.float32(gain))
        image *= self._falloff(height, width)
        self._add_noise(image, rng)
        if self.sharpening:
            soft = cv2.blur(image, (3, 3))
            image = np.asarray(cv2.addWeighted(image, 1.0 + self.sharpening, soft, -self.sharpening, 0.0), np.float32)
        np.maximum(image, 0.0, out=image)
        pixels = cv2.convertScaleAbs(image, alpha=255.0, beta=255.0 * self.black)
        return _through_jpeg(np.asarray(cv2.LUT(pixels, self._tone_curve()), np.uint8), self.jpeg_quality)

    def _tone_curve(self) -> NDArray[np.uint8]:
        """(256,) what each level becomes: an S that darkens shadows and brightens lights; rises for contrast ≤ 1."""
        level = np.arange(256) / 255
        return np.rint(255 * (level + self.contrast * level * (1 - level) * (2 * level - 1))).astype(np.uint8)

    def _falloff(self, height: int, width: int) -> Canvas:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
        falloff: Canvas = (1.0 - np.float32(self.vignette / 2) * (x + y))[:, :, None]
        return falloff

    def _add_noise(self, image: Canvas, rng: np.random.Generator) -> None:
        height, width = image.shape[:2]
        # Even noise in place of Gaussian: JPEG leaves no trace of the difference, and it costs a tenth.
        shot = rng.integers(0, 256, image.shape, np.uint8).astype(np.float32)
        shot -= np.float32(127.5)
        # Shot noise grows with the root of the light (green stands for it); the floor is the sensor's own.
        height_of_noise = np.sqrt(np.maximum(image[:, :, 1], 0.0) + np.float32(0.15))
        shot *= (height_of_noise * np.float32(self.noise / 73.6))[:, :, None]
        image += shot
        if self.blotches > 0.002:
            cells = (max(2, height // 12), max(2, width // 12))
            for channel in (0, 2):
                image[:, :, channel] += np.float32(self.blotches) * smooth_noise((height, width), cells, rng)


# Sigma in pixels of a picture of 240 rows, and how often.
DEFOCUS = ((0.0, 0.3), (0.6, 0.35), (1.2, 0.25), (2.0, 0.1))


def choose_camera(height: int, rng: np.random.Generator) -> Camera:
    """A camera and its settings for pictures of `height` rows."""
    warmth, tint = rng.normal(0.0, 0.1), rng.normal(0.0, 0.035)
    return Camera(
        balance=(float(1.0 + warmth), float(1.0 + tint), float(1.0 - warmth)),
        exposure=float(np.clip(rng.normal(0.57, 0.1), 0.3, 0.82)),
        contrast=float(rng.uniform(0.0, 0.9)),
        black=float(max(0.0, rng.normal(0.0, 0.05))),
        vignette=float(rng.uniform(0.0, 0.5)),
        defocus_px=height / 240 * pick(DEFOCUS, rng) * float(rng.uniform(0.7, 1.2)),
        noise=float(rng.gamma(1.4, 0.013)),
        blotches=float(rng.gamma(1.1, 0.01)),
        sharpening=float(rng.uniform(0.0, 0.8) * (rng.random() < 0.5)),
        jpeg_quality=int(rng.integers(45, 96)),
    )


def choose_motion(height: int, rng: np.random.Generator) -> tuple[float, float]:
    """How far hands move while the shutter is open, in pixels: seldom far."""
    reach = height / 240 * float(rng.gamma(1.3, 1.4)) * (rng.random() < 0.5)
    angle = rng.uniform(0, 2 * np.pi)
    return reach * float(np.cos(angle)), reach * float(np.sin(angle))


def smear(image: Canvas, motion_px: tuple[float, float]) -> Canvas:
    """Blur along `motion_px` (x, y): what moves that far while the shutter is open."""
    length = float(np.hypot(*motion_px))
    if length < 1.0:
        return image
    size = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((size, size), np.uint8)
    middle, half = size // 2 << 4, np.asarray(motion_px) * 8
    start, end = (tuple(int(middle + sign * value) for value in half) for sign in (-1, 1))
    cv2.line(kernel, start, end, 255, 1, cv2.LINE_AA, 4)
    weights = kernel.astype(np.float32)
    return np.asarray(cv2.filter2D(image, -1, weights / weights.sum()), np.float32)


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    _, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # Our own JPEG, encoded one line above.
    return np.ascontiguousarray(decoded[:, :, ::-1], np.uint8)
