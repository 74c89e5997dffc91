"""torchvision is compiled for one release of torch, and says so in words that nobody understands."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from edgex_runtime.errors import MissingExtraError


@contextmanager
def torchvision_fits() -> Iterator[None]:
    """Import torchvision, or what stands on it, inside.

    Raises:
        MissingExtraError: If the torchvision that is installed was compiled for another torch.
    """
    try:
        yield
    # Its operators are not there when its library does not load: "operator torchvision::nms does not exist".
    except RuntimeError as error:
        raise MissingExtraError(
            f"the torchvision that is installed does not fit torch {torch.__version__} ({error}): install the build "
            "of torchvision that belongs to it, from the index that torch came from"
        ) from error
