"""What an engine may offer beside its seam: to say where in the picture it sees a class."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Explainer(Protocol):
    """An engine that can look back through its network; the torch engine is the one that can."""

    def explain(self, batch: NDArray[np.generic], class_index: int) -> NDArray[np.float32]:
        """Say what made the logit of one class large.

        By any thread, also while another one runs the engine.

        Args:
            batch: One picture, as `Engine.run` takes it.
            class_index: Position in the labels.

        Returns:
            (h, w) float32, 0..1, as coarse as the network's last map: 1 where most of the logit comes from; all zeros
            where nothing speaks for the class.

        Raises:
            BadInputError: If there is no such class, or the network has no map to look at.
        """
        ...
