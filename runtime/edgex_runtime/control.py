"""What others may ask of a running frame loop, from any thread: to pause, to go on, to use another model, to end."""

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.engines.engine import EngineInfo
from edgex_runtime.errors import BadInputError
from edgex_runtime.predictions import Prediction, Prepared
from edgex_runtime.spec import ModelSpec


class Control:
    """The switches of one run. The loop looks at them between two frames."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._paused = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether someone asked for the end."""
        return self._stopped.is_set()

    @property
    def is_paused(self) -> bool:
        """Whether frames are taken and not classified."""
        return self._paused.is_set()

    def stop(self) -> None:
        """End the run after the frame in work. Safe in a signal handler; there is no way back."""
        self._stopped.set()

    def pause(self) -> None:
        """Classify nothing until `resume`; the sources go on, so that what comes after is new."""
        self._paused.set()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused.clear()


class Classifier(Protocol):
    """What the loop and its viewers need of a `Model`."""

    @property
    def spec(self) -> ModelSpec:
        """Its contract."""
        ...

    @property
    def info(self) -> EngineInfo:
        """Who runs it, really."""
        ...

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """Resize one (H, W, 3) uint8 RGB image to the model's input; by any thread."""
        ...

    def classify(self, prepared: Sequence[Prepared]) -> list[Prediction]:
        """Run the engine once over what `prepare` gave."""
        ...


class ModelChoice:
    """Several models of which one is in use, by name; a `Classifier` itself, so that a loop need not know.

    A picture that was prepared for one model is classified by that model, also when another was chosen meanwhile.
    """

    def __init__(self, models: Mapping[str, Classifier]) -> None:
        """Take at least one model by the name that a person calls it; the first is in use."""
        self._models = dict(models)
        self._current = next(iter(models))

    @property
    def models(self) -> Mapping[str, Classifier]:
        """All, in the order they were given."""
        return MappingProxyType(self._models)

    @property
    def current(self) -> str:
        """The name of the one in use."""
        return self._current

    @property
    def spec(self) -> ModelSpec:
        """Of the one in use."""
        return self._models[self._current].spec

    @property
    def info(self) -> EngineInfo:
        """Of the one in use."""
        return self._models[self._current].info

    def select(self, name: str) -> None:
        """Use the model of that name from the next frame on.

        Raises:
            BadInputError: If there is none.
        """
        if name not in self._models:
            raise BadInputError(f"{name!r}: no such model is loaded; loaded are {', '.join(self._models)}")
        self._current = name

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """By the model in use."""
        name = self._current
        prepared = self._models[name].prepare(image)
        return Prepared(tensor=prepared.tensor, preprocess_ms=prepared.preprocess_ms, owner=name)

    def classify(self, prepared: Sequence[Prepared]) -> list[Prediction]:
        """By the model that prepared each; in one call where it is the same for all."""
        if len({one.owner for one in prepared}) == 1:
            return self._models[prepared[0].owner].classify(prepared)
        return [self._models[one.owner].classify([one])[0] for one in prepared]
