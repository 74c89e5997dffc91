"""From a network's facts and the user's words to a contract; what neither says is asked for by name."""

from edgex.networks.sources.facts import Facts, Missing
from edgex_runtime.errors import SpecError
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize


def contract_of(source: str, facts: Facts, missing: Missing, *, asks_color: bool = False) -> ModelSpec:
    """The contract of a network.

    Args:
        source: As the user typed it, for messages.
        facts: What its file or its library says.
        missing: What the user says, which wins.
        asks_color: Whether the user has to say the order of the channels.

    Raises:
        SpecError: If something is said by neither, or cannot be.
    """
    size = missing.input_size or facts.input_size
    labels = read_labels(missing) or facts.labels
    mode = missing.resize or facts.resize
    normalise = _normalise(source, facts, missing)
    asked = {
        "its classes: give --labels FILE, one label a line": labels is None,
        "how photos become its input: give --resize crop, stretch or letterbox": mode is None,
        "its input size: give --input-size 224, or HEIGHTxWIDTH": size is None,
        "how pixels are scaled: give --mean R,G,B and --std R,G,B in pixels 0..255 "
        "(0,0,0 and 1,1,1 where the network scales them itself)": normalise is None,
        "the order of its channels: give --color RGB or BGR": asks_color and missing.color is None,
    }
    if any(asked.values()):
        listed = "; ".join(text for text, is_missing in asked.items() if is_missing)
        raise SpecError(f"{source}: nothing in it says {listed}")
    assert labels is not None
    assert mode is not None
    assert size is not None
    try:
        return ModelSpec(
            name=facts.title,
            labels=labels,
            input=InputSpec(height=size[0], width=size[1]),
            resize=Resize(mode=mode, crop_fraction=_crop_fraction(facts, missing)),
            normalise=normalise,
        )
    except ValueError as error:
        raise SpecError(f"{source}: {error}") from error


def read_labels(missing: Missing) -> tuple[str, ...] | None:
    """The labels of the user's file; None without one.

    Raises:
        SpecError: If it cannot be read.
    """
    if missing.labels is None:
        return None
    try:
        lines = missing.labels.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{missing.labels}: want a text file with one label a line: {error}") from error
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise SpecError(f"{missing.labels}: want one label a line, got none")
    return labels


def require_classes(source: str, missing: Missing) -> int:
    """How many logits to build a network with whose library's own weights are not wanted.

    Raises:
        SpecError: If there are none.
    """
    labels = read_labels(missing)
    if labels is None:
        reason = "random weights know no classes" if missing.weights == "none" else "a file of weights names no classes"
        raise SpecError(f"{source}: {reason}: give --labels FILE, one label a line")
    return len(labels)


def distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels of a library, of which some stand for two classes (ImageNet has two cranes), told apart by their place.

    >>> distinct(("crane", "dog", "crane"))
    ('crane (0)', 'dog', 'crane (2)')
    """
    return tuple(f"{label} ({place})" if labels.count(label) > 1 else label for place, label in enumerate(labels))


def _normalise(source: str, facts: Facts, missing: Missing) -> Normalise | None:
    if missing.mean is None and missing.std is None:
        return facts.normalise
    mean = missing.mean or (facts.normalise.mean if facts.normalise else None)
    std = missing.std or (facts.normalise.std if facts.normalise else None)
    if mean is None or std is None:
        raise SpecError(f"{source}: --mean and --std go together: give --{'mean' if mean is None else 'std'} R,G,B too")
    if min(std) < 1:
        raise SpecError(
            f"{source}: want --mean and --std in pixels 0..255, got a std of {', '.join(f'{s:g}' for s in std)}: "
            f"multiply both by 255 (the std is then {', '.join(f'{s * 255:g}' for s in std)})"
        )
    return Normalise(mean=mean, std=std)


def _crop_fraction(facts: Facts, missing: Missing) -> float:
    if missing.crop_fraction is not None:
        return missing.crop_fraction
    # The library's fraction belongs to its own way of resizing, not to another one that the user chose.
    if facts.crop_fraction is not None and missing.resize in (None, facts.resize):
        return facts.crop_fraction
    return 1.0
