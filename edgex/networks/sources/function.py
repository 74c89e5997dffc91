"""`package.module:function`: a network of the user's own, from the function that builds it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from edgex.networks.sources.facts import Missing
from edgex.networks.sources.offer import Offer, seeded, weights_sha256
from edgex.networks.sources.state import load_state
from edgex_runtime.errors import BadInputError


def load(source: str, rest: str, missing: Missing) -> Offer:
    """Call the function without arguments; what it draws at random is seeded.

    Args:
        source: ``package.module:function``, found as Python finds it, or from the current folder.
        rest: The same.
        missing: Its `weights` is a file of the network's state dict, or None: the function loads them itself.

    Raises:
        BadInputError: If there is no such function, or it returns no module.
        WeightsError: If the weights do not fit.
    """
    build = _find(rest)
    with seeded():
        network = build()
    if not isinstance(network, nn.Module):
        # A Keras model on another backend is none.
        hint = ": set KERAS_BACKEND=torch" if type(network).__module__.startswith("keras.") else ""
        found = type(network).__name__
        raise BadInputError(f"{source}: want a function that returns a torch.nn.Module, got {found}{hint}")
    weights = missing.weights
    if weights == "default":
        raise BadInputError(f"{source}: nobody publishes weights for it: leave --weights out, or give --weights FILE")
    title = rest.replace(":", "-").rpartition(".")[2]
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(network, keras.Model):
        return _keras_offer(source, network, title, missing)
    if weights is not None and weights != "none":
        load_state(network, Path(weights))
    return Offer(
        network=network.cpu().eval(),
        title=title,
        sha256=weights_sha256(network, weights),
    )


def _keras_offer(source: str, model: nn.Module, title: str, missing: Missing) -> Offer:
    from edgex.networks.sources.keras import offer_of

    if missing.weights is not None:
        raise BadInputError(f"{source}: a Keras model loads its weights in the function: leave --weights out")
    return offer_of(model, title=title, sha256=weights_sha256(model, None))


def _find(rest: str) -> Callable[[], Any]:
    module_name, _, name = rest.partition(":")
    try:
        with _current_folder_first():
            module = import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that theirs wants and that is not there is for them to see.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise BadInputError(
            f"{rest}: there is no module {error.name!r} in {Path.cwd()} nor where Python looks: "
            "run this where the module stands, or set PYTHONPATH"
        ) from error
    found: Callable[[], Any] | None = getattr(module, name, None)
    if not callable(found):
        have = "nothing of that name" if found is None else f"a {type(found).__name__}"
        raise BadInputError(f"{rest}: want a function {name!r} in {module_name}, found {have}")
    return found


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """As `python -m` has it, and an installed command has not."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
