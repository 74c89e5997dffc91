"""What every engine does alike: hold a graph to one image in and one vector out, and feed a fixed batch in pieces."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.engines.engine import Signature
from edgex_runtime.errors import BadInputError, ModelFileError

ANY = -1


def check_classifier(path: Path, signature: Signature) -> Signature:
    """Return `signature` if it is an image classifier's: (batch, ·, ·, ·) in, (batch, classes) out.

    Raises:
        ModelFileError: If it is not.
    """
    if len(signature.input_shape) != 4 or len(signature.output_shape) != 2:
        raise ModelFileError(
            f"{path}: want an image classifier, one input of 4 axes and one output of 2, "
            f"got {signature.input_shape} → {signature.output_shape}"
        )
    return signature


def check_batch(batch: NDArray[np.generic], signature: Signature) -> None:
    """Hold a batch to the graph's declaration, so that a vendor never sees a tensor of another shape.

    Raises:
        BadInputError: If its dtype or shape differs, or it is empty.
    """
    wanted = signature.input_shape[1:]
    fits = batch.ndim == 4 and all(want in (ANY, got) for want, got in zip(wanted, batch.shape[1:], strict=True))
    if not fits or batch.shape[0] < 1 or batch.dtype != signature.input_dtype:
        want = f"(N ≥ 1, {', '.join(map(str, wanted))}) {signature.input_dtype}"
        raise BadInputError(f"input: want {want}, got {batch.shape} {batch.dtype}")


def run_in_pieces(
    execute: Callable[[NDArray[np.generic]], NDArray[np.float32]], batch: NDArray[np.generic], size: int
) -> NDArray[np.float32]:
    """Run a batch on a graph whose own batch is `size` (`ANY`: any), and join what comes out.

    Args:
        execute: Runs exactly `size` images; returns (size, classes).
        batch: (N, …), any N ≥ 1. The last piece is filled up with its last image, whose results are dropped.
        size: The graph's batch.
    """
    count = batch.shape[0]
    if size in (ANY, count):
        return execute(batch)
    missing = -count % size
    if missing:
        batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
    pieces = [execute(batch[start : start + size]) for start in range(0, len(batch), size)]
    return np.concatenate(pieces)[:count]
