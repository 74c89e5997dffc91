"""Which layers of an int8 artifact go back to float when its gate does not hold: the fewest that do."""

from collections.abc import Callable, Iterable

from edgex_converters.blame import Blame
from edgex_converters.result import Outcome

# What a layer in float has to gain, in dB of the logits' SQNR, to stay there.
_LEAST_GAIN_DB = 0.1

Attempt = Callable[[tuple[str, ...]], Outcome | None]


def search(blame: Blame, most: int, failed: Outcome, attempt: Attempt) -> tuple[str, ...]:
    """Try larger and larger sets of layers in float, until the gate holds.

    Each step adds the worst layer that was not considered yet: alone, and together with the places that read it, since
    what leaves a layer is cut to a range all the same while a reader stays int8. The better of the two stays for the
    next step; if neither gains anything, neither does.

    Args:
        blame: Of the artifact.
        most: Layers in float, and steps.
        failed: The artifact with none.
        attempt: Makes and judges the artifact with these layers in float; None if it cannot be made.

    Returns:
        The layers with which it passed; none if it never did.
    """
    worst = [layer for layer in blame.layers if layer.share > 0.0 and layer.kind != "image"]
    kept: tuple[str, ...] = ()
    best_db = _sqnr_db(failed)
    for layer in worst[:most]:
        grown = kept
        for added in ((layer.name,), (layer.name, *layer.read_by)):
            layers = tuple(dict.fromkeys(kept + added))
            if layers in (kept, grown) or len(layers) > most:
                continue
            outcome = attempt(layers)
            if outcome is None:
                continue
            if outcome.status == "passed":
                return layers
            if _sqnr_db(outcome) >= best_db + _LEAST_GAIN_DB:
                grown, best_db = layers, _sqnr_db(outcome)
        kept = grown
    return ()


def ops_of(blame: Blame, layers: Iterable[str]) -> tuple[str, ...]:
    """The ops that compute these layers, as the format's quantiser calls them."""
    ops = {layer.name: layer.ops for layer in blame.layers}
    return tuple(op for layer in layers for op in ops[layer])


def _sqnr_db(outcome: Outcome) -> float:
    assert outcome.measured is not None  # What cannot be measured is broken, not failed.
    return outcome.measured.sqnr_db
