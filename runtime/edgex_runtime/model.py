"""`Model`: a model file, the engine that runs it, and its contract, held to one another when it is opened."""

import threading
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.admission import admit
from edgex_runtime.engines.engine import Device, Engine, EngineInfo, EngineOptions
from edgex_runtime.engines.registry import open_engine
from edgex_runtime.errors import BadInputError
from edgex_runtime.foreign import complete_spec, read_toml
from edgex_runtime.metadata.registry import read_native_labels, read_spec
from edgex_runtime.pixels import from_array
from edgex_runtime.postprocess import to_probabilities, top_scores
from edgex_runtime.predictions import Prediction, Prepared, Timing
from edgex_runtime.preprocess import to_input
from edgex_runtime.selftest import check, check_signature
from edgex_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from PIL import Image

    from edgex_runtime.stream import Stream, Watchable

    ImageLike = str | PathLike[str] | bytes | Image.Image | NDArray[np.generic]


class Model:
    """One classifier, ready to use.

    Args:
        path: .onnx, .xml (with its .bin), .tflite or .safetensors.
        engine: Name of the engine; by default the one that the file's suffix is for.
        device: ``auto`` is the CPU.
        threads: Intra-op threads; None leaves it to the engine.
        spin: As in `EngineOptions`.
        spec: For a file without a contract: a TOML file of `ModelSpec`'s fields, or the contract itself.

    Raises:
        ModelFileError: If the file is not there or cannot be loaded.
        SpecError: If its contract is malformed, or a foreign model's is incomplete.
        ContractMismatchError: If it does not do what its contract says.
        MissingExtraError: If its engine is not installed.
        DeviceUnavailableError: If the device is not there.
        BadInputError: If `engine` is unknown, or `spec` is given for a file that carries a contract.

    A model may be used by several threads, which take turns in the engine.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        engine: str | None = None,
        device: Device = "auto",
        threads: int | None = None,
        spin: bool = False,
        spec: str | PathLike[str] | ModelSpec | None = None,
    ) -> None:
        file = Path(path)
        carried = read_spec(file)
        if carried is not None and spec is not None:
            raise BadInputError(
                f"{file}: it carries its own contract, which a second one cannot replace: leave out spec"
            )
        options = EngineOptions(device=device, threads=threads, spin=spin)
        self._lock = threading.Lock()
        digest = admit(file, options, engine)
        self._engine: Engine | None = open_engine(file, options, engine)
        try:
            if carried is None:
                self._spec = _foreign_spec(file, spec, self._engine)
                check_signature(self._engine, self._spec)
            else:
                self._spec = carried
                check(self._engine, carried, digest)
        except BaseException:
            self._engine.close()
            raise

    @property
    def spec(self) -> ModelSpec:
        """The contract; its `golden` is None for a foreign model, which nothing holds to account."""
        return self._spec

    @property
    def engine(self) -> Engine:
        """The engine, with its `info` and `signature`.

        Raises:
            BadInputError: If the model is closed.
        """
        if self._engine is None:
            raise BadInputError(f"{self._spec.name}: the model is closed; open it again")
        return self._engine

    @property
    def info(self) -> EngineInfo:
        """Who runs it, really: `engine.info`."""
        return self.engine.info

    def predict(self, image: "ImageLike") -> Prediction:
        """Classify one picture.

        Args:
            image: A path, an encoded file's bytes, a PIL image, or (H, W, 3) uint8 RGB.

        Raises:
            ImageError: If it cannot be read as a picture.
            ContractMismatchError: If the output is no number.
            BadInputError: If the model is closed.
        """
        return self.predict_batch([image])[0]

    def predict_batch(self, images: "Sequence[ImageLike]") -> list[Prediction]:
        """Classify pictures of any sizes in one call of the engine; none give none. See `predict`."""
        return self.classify([self.prepare(image) for image in images])

    def prepare(self, image: "ImageLike") -> Prepared:
        """Do what comes before the engine: read and resize one picture; see `predict`. By any thread, at any time."""
        started = perf_counter()
        tensor = self._prepare([image])
        return Prepared(tensor=tensor, preprocess_ms=(perf_counter() - started) * 1e3)

    def classify(self, prepared: Sequence[Prepared]) -> list[Prediction]:
        """Do the rest for what `prepare` gave, in one call of the engine; none give none.

        Raises:
            ContractMismatchError: If the output is no number.
            BadInputError: If the model is closed.
        """
        if not prepared:
            return []
        started = perf_counter()
        batch = prepared[0].tensor if len(prepared) == 1 else np.concatenate([one.tensor for one in prepared])
        logits = self._run(batch)
        executed = perf_counter()
        probabilities = to_probabilities(logits, self._spec)
        tops = [top_scores(row, self._spec.labels) for row in probabilities]
        share = 1e3 / len(prepared)
        inference_ms, postprocess_ms = (executed - started) * share, (perf_counter() - executed) * share
        return [
            Prediction(
                label=top[0].label,
                score=top[0].score,
                top5=top,
                logits=row,
                timing=Timing(
                    preprocess_ms=one.preprocess_ms, inference_ms=inference_ms, postprocess_ms=postprocess_ms
                ),
            )
            for one, top, row in zip(prepared, tops, logits, strict=True)
        ]

    def logits(self, images: "Sequence[ImageLike]") -> NDArray[np.float32]:
        """The engine's output, (N, classes) float32, unchecked; probabilities where `spec.output` says so."""
        if not images:
            return np.empty((0, len(self._spec.labels)), dtype=np.float32)
        return self._run(self._prepare(images))

    def warm_up(self) -> None:
        """Run once on a grey picture: an engine's first call allocates and may compile."""
        grey = np.full((self._spec.input.height, self._spec.input.width, 3), 127, dtype=np.uint8)
        self.logits([grey])

    def stream(self, source: "Watchable | Sequence[Watchable]", **options: Any) -> "Stream":
        """Classify what a camera, a video or a folder shows, or several of them, result by result.

        Args:
            source: What `edgex live` takes, a path, a webcam's number, an open source; or several, which take turns.
            options: `LiveOptions`: ``max_frames``, ``duration_s``, ``reconnect_s``, ``answers``, ``motion``.

        Raises:
            BadInputError: If a source cannot be what it says, or an option does not fit it.
            SourceLostError: If a camera is not there or does not answer.
        """
        from edgex_runtime.live import LiveOptions
        from edgex_runtime.stream import Stream

        return Stream(self, source, LiveOptions(**options))

    def close(self) -> None:
        """Release the engine; a second call does nothing."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def __enter__(self) -> "Model":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, images: "Sequence[ImageLike]") -> NDArray[np.generic]:
        return to_input([_pixels(image) for image in images], self._spec)

    def _run(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        with self._lock:
            return self.engine.run(batch)


def _foreign_spec(file: Path, spec: str | PathLike[str] | ModelSpec | None, engine: Engine) -> ModelSpec:
    if isinstance(spec, ModelSpec):
        return spec
    said = {} if spec is None else read_toml(Path(spec))
    return complete_spec(file, said, read_native_labels(file), engine.signature)


def _pixels(image: "ImageLike") -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        return from_array(image)
    # Imported here: a camera's frames need no image decoders.
    from edgex_runtime.image import read_image

    return read_image(image)
