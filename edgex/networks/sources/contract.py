"""From a vendor's offer and the user's words to a contract; what neither says is asked for by name."""

import torch
from torch import nn

from edgex.networks.deploy import Deployed
from edgex.networks.sources.offer import Missing, Offer
from edgex_converters.pipeline import Source
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.spec import InputSpec, ModelSpec, Normalise, Resize

# What a network raises that cannot take the images it is given; anything else is a fault to be seen.
_REFUSALS = (RuntimeError, ValueError, TypeError, AssertionError, IndexError)


def complete(source: str, offer: Offer, missing: Missing) -> Source:
    """Join what the vendor knows with what the user says, and run the network once.

    Args:
        source: As the user typed it, for messages.
        offer: The vendor's.
        missing: The user's, which wins.

    Raises:
        SpecError: If something is said by neither, or the parts contradict each other.
        BadInputError: If the network does not take such images or does not give logits.
    """
    spec = contract_of(source, offer, missing)
    assert spec.normalise is not None  # `contract_of` puts it there.
    deployed = Deployed(offer.network, spec.normalise, layout=offer.layout, color=offer.color)
    # The vendor's part is in evaluation mode already, and an exported program refuses eval().
    deployed.training = False
    require_logits(source, deployed, spec)
    return Source(network=deployed, spec=spec, sha256=offer.sha256)


def contract_of(source: str, offer: Offer, missing: Missing) -> ModelSpec:
    """The contract of an offer.

    Raises:
        SpecError: If something is said by neither, or cannot be.
    """
    size = missing.input_size or offer.input_size
    labels = read_labels(missing) or offer.labels
    mode = missing.resize or offer.resize
    normalise = _normalise(source, offer, missing)
    asked = {
        "its classes: give --labels FILE, one label a line": labels is None,
        "how photos become its input: give --resize crop, stretch or letterbox": mode is None,
        "its input size: give --input-size 224, or HEIGHTxWIDTH": size is None,
        "how pixels are scaled: give --mean R,G,B and --std R,G,B in pixels 0..255 "
        "(0,0,0 and 1,1,1 where the network scales them itself)": normalise is None,
    }
    if any(asked.values()):
        listed = "; ".join(text for text, is_missing in asked.items() if is_missing)
        raise SpecError(f"{source}: nothing in it says {listed}")
    assert labels is not None
    assert mode is not None
    assert size is not None
    try:
        return ModelSpec(
            name=offer.title,
            labels=labels,
            input=InputSpec(height=size[0], width=size[1]),
            resize=Resize(mode=mode, crop_fraction=_crop_fraction(offer, missing)),
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


def require_classes(source: str, missing: Missing, reason: str) -> int:
    """How many logits to build a network with, where only the user's labels can say.

    Raises:
        SpecError: If there are none.
    """
    labels = read_labels(missing)
    if labels is None:
        raise SpecError(f"{source}: {reason}: give --labels FILE, one label a line")
    return len(labels)


def distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels of a library, of which some stand for two classes (ImageNet has two cranes), told apart by their place.

    >>> distinct(("crane", "dog", "crane"))
    ('crane (0)', 'dog', 'crane (2)')
    """
    return tuple(f"{label} ({place})" if labels.count(label) > 1 else label for place, label in enumerate(labels))


def require_logits(source: str, deployed: nn.Module, spec: ModelSpec) -> None:
    """Run the graph on two noisy images: (2, H, W, 3) bytes in, (2, classes) logits out.

    Raises:
        BadInputError: If the network refuses them, or gives anything but logits.
        SpecError: If it gives another number of logits than there are labels.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, *spec.input.shape), dtype=torch.uint8, generator=generator)
    try:
        with torch.inference_mode():
            logits = deployed(images)
    except _REFUSALS as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        raise BadInputError(
            f"{source}: want a network that takes any number of {spec.input.height}x{spec.input.width} images, "
            f"got {type(error).__name__}: {first}: give another --input-size, or free the batch where it was exported"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[0] != 2:
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise BadInputError(f"{source}: want one tensor of logits, (N, classes), from a batch of 2, got {found}")
    if logits.shape[1] != len(spec.labels):
        raise SpecError(
            f"{source}: want a label for each of the {logits.shape[1]} logits, got {len(spec.labels)} labels: "
            "give --labels FILE with as many lines"
        )
    if not torch.isfinite(logits).all():
        raise BadInputError(f"{source}: want finite logits, got NaN or infinity on an image of noise")
    if bool((logits >= 0).all()) and bool((logits.sum(1) - 1).abs().max() < 1e-4):
        raise BadInputError(f"{source}: want logits, got probabilities: take the softmax off the network's end")


def _normalise(source: str, offer: Offer, missing: Missing) -> Normalise | None:
    if missing.mean is None and missing.std is None:
        return offer.normalise
    mean = missing.mean or (offer.normalise.mean if offer.normalise else None)
    std = missing.std or (offer.normalise.std if offer.normalise else None)
    if mean is None or std is None:
        raise SpecError(f"{source}: --mean and --std go together: give --{'mean' if mean is None else 'std'} R,G,B too")
    if min(std) < 1:
        raise SpecError(
            f"{source}: want --mean and --std in pixels 0..255, got a std of {', '.join(f'{s:g}' for s in std)}: "
            f"multiply both by 255 (the std is then {', '.join(f'{s * 255:g}' for s in std)})"
        )
    return Normalise(mean=mean, std=std)


def _crop_fraction(offer: Offer, missing: Missing) -> float:
    if missing.crop_fraction is not None:
        return missing.crop_fraction
    # The library's fraction belongs to its own way of resizing, not to another one that the user chose.
    if offer.crop_fraction is not None and missing.resize in (None, offer.resize):
        return offer.crop_fraction
    return 1.0
