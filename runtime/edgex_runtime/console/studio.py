"""Makes the pictures that viewers see: each frame is encoded once at most, and only while someone looks."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgex_runtime.console.board import Board, Seen
from edgex_runtime.control import Classifier, ModelChoice
from edgex_runtime.errors import EdgexError
from edgex_runtime.explanation import draw_heat, find_explainer, heat_of

MAX_SIDE_PX = 1280
JPEG_QUALITY = 82

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a viewer looks at: a source, as it is or with Grad-CAM on it."""

    source: str
    explained: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """What viewers see of a frame.

    Attributes:
        number: Counts up by one, over all pictures.
        wanted: What it is of.
        seen: The frame, without anything drawn on it, and its result.
        jpeg: As it goes out.
        by: The model that explained it; "" where none did.
    """

    number: int
    wanted: Wanted
    seen: Seen
    jpeg: bytes
    by: str = ""


class Studio:
    """Belongs to the server's event loop; what takes time is done in two threads of its own."""

    def __init__(self, board: Board, models: ModelChoice | None) -> None:
        """Store.

        Args:
            board: Where the newest frames are; hears when a picture with Grad-CAM has become ready.
            models: Who can explain them; None for nobody.
        """
        self._board = board
        self._models = models
        # An explanation takes as long as several frames: live pictures must not wait for it.
        self._encoder = ThreadPoolExecutor(1, "edgex-console-jpeg")
        self._explainer = ThreadPoolExecutor(1, "edgex-console-explain")
        self._pictures: dict[Wanted, Picture] = {}
        self._explaining: set[asyncio.Task[None]] = set()
        self._next_number = 1
        self.trouble = ""

    def picture(self, wanted: Wanted) -> Picture | None:
        """The newest; of the plain source until the first explained one is ready."""
        return self._pictures.get(wanted) or self._pictures.get(Wanted(wanted.source, explained=False))

    async def refresh(self, wanted: Iterable[Wanted]) -> None:
        """Encode what is new of what someone looks at, and have the rest explained meanwhile."""
        wishes = set(wanted)
        for wish in wishes:
            if wish.explained:
                self._begin_to_explain(wish)
        self._pictures = {key: kept for key, kept in self._pictures.items() if key in wishes or not key.explained}
        for source in {wish.source for wish in wishes if not wish.explained or wish not in self._pictures}:
            await self._encode(Wanted(source, explained=False))

    def close(self) -> None:
        """Let go of the threads; what they are doing comes to nothing."""
        for task in self._explaining:
            task.cancel()
        for pool in (self._encoder, self._explainer):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _encode(self, wanted: Wanted) -> None:
        seen, before = self._board.newest(wanted.source), self._pictures.get(wanted)
        if seen is None or (before is not None and before.seen is seen):
            return
        jpeg = await asyncio.get_running_loop().run_in_executor(self._encoder, encode, seen.frame.image)
        self._keep(wanted, seen, jpeg, by="")

    def _begin_to_explain(self, wanted: Wanted) -> None:
        seen, before = self._board.newest(wanted.source), self._pictures.get(wanted)
        if seen is None or self._explaining or (before is not None and before.seen is seen):
            return
        found = self._find_explainer(seen)
        if found is None:
            self.trouble = "no loaded model can explain this picture: Grad-CAM wants a checkpoint (.safetensors)"
            return
        task = asyncio.create_task(self._explain(wanted, seen, *found))
        self._explaining.add(task)
        task.add_done_callback(self._explaining.discard)

    async def _explain(self, wanted: Wanted, seen: Seen, name: str, model: Classifier) -> None:
        loop = asyncio.get_running_loop()
        try:
            jpeg = await loop.run_in_executor(self._explainer, explained_jpeg, model, seen)
        except (EdgexError, RuntimeError) as error:
            # RuntimeError is torch's: out of memory, an operator without a gradient.
            self.trouble = f"Grad-CAM by {name}: {error}"
            return
        self.trouble = ""
        self._keep(wanted, seen, jpeg, by=name)
        self._board.on_news()

    def _find_explainer(self, seen: Seen) -> tuple[str, Classifier] | None:
        """The model that gave the answer, else any that can and knows the class."""
        if self._models is None:
            return None
        models = self._models.models
        first = seen.result.model or self._models.current
        for name in (first, *models):
            model = models.get(name)
            if model is not None and find_explainer(model) and seen.result.label in model.spec.labels:
                return name, model
        return None

    def _keep(self, wanted: Wanted, seen: Seen, jpeg: bytes, *, by: str) -> None:
        self._pictures[wanted] = Picture(number=self._next_number, wanted=wanted, seen=seen, jpeg=jpeg, by=by)
        self._next_number += 1


def encode(image: Image) -> bytes:
    """A JPEG of `MAX_SIDE_PX` a side at most, of (H, W, 3) uint8 RGB."""
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(fit(image), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    return data.tobytes()


def explained_jpeg(model: Classifier, seen: Seen) -> bytes:
    """The same with Grad-CAM of its own label laid over it."""
    image = seen.frame.image
    assert seen.result.label is not None, "only classified frames are shown"
    heat = heat_of(model, image, seen.result.label)
    small = fit(image)
    return encode(draw_heat(small, cv2.resize(heat, small.shape[1::-1], interpolation=cv2.INTER_AREA)))  # type: ignore[arg-type]


def fit(image: Image) -> Image:
    """The picture itself, or a smaller one where it is too large to be sent thirty times a second."""
    scale = MAX_SIDE_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
