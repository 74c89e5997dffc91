"""Which layers of an int8 artifact go back to float when its gate does not hold: fewest first."""

from collections.abc import Iterable

from edgex_converters.blame import Blame


def candidates(blame: Blame, most: int) -> tuple[tuple[str, ...], ...]:
    """Sets of layers to try, one after the other.

    The worst layers, as many as a set has; and the same with the places that read them, since what leaves a layer is
    cut to a range all the same while a reader stays int8.

    Args:
        blame: Of the artifact.
        most: Layers in a set.
    """
    worst = [layer for layer in blame.layers if layer.share > 0.0 and layer.kind != "image"]
    sets: dict[tuple[str, ...], None] = {}
    for count in range(1, min(most, len(worst)) + 1):
        alone = tuple(layer.name for layer in worst[:count])
        readers = tuple(reader for layer in worst[:count] for reader in layer.read_by)
        for layers in (alone, tuple(dict.fromkeys(alone + readers))):
            if len(layers) <= most:
                sets[layers] = None
    return tuple(sorted(sets, key=len))


def ops_of(blame: Blame, layers: Iterable[str]) -> tuple[str, ...]:
    """The ops that compute these layers, as the format's quantiser calls them."""
    ops = {layer.name: layer.ops for layer in blame.layers}
    return tuple(op for layer in layers for op in ops[layer])
