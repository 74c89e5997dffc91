"""From a vendor's offer to what is converted: its contract, and a first run that shows whether it gives logits."""

import torch
from torch import nn

from edgex.networks.deploy import Deployed
from edgex.networks.sources.contract import contract_of
from edgex.networks.sources.facts import Missing
from edgex.networks.sources.offer import Offer
from edgex_converters.source import Source
from edgex_runtime.errors import BadInputError, SpecError
from edgex_runtime.spec import ModelSpec

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
