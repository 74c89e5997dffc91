"""The table of sources: what stands before the colon, or ends a file's name, and the code that loads it.

A row is imported when a source first asks for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from edgex.networks.sources.facts import Missing
from edgex_runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from edgex.networks.sources.offer import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One row.

    Attributes:
        entry: ``module:function``, called as `Load`.
        example: For messages and `--help`.
        install: What to install, as pip takes it.
        vendors: Top-level modules that it stands on.
    """

    entry: str
    example: str
    install: str = "'edgex[torch]'"
    vendors: tuple[str, ...] = ("torch",)


# (the whole SOURCE, what follows the colon or the path of the file, what the user said) → offer
Load = Callable[[str, str, Missing], "Offer"]

_HOME = "edgex.networks.sources"
SCHEMES: dict[str, Scheme] = {
    "timm": Scheme(
        entry=f"{_HOME}.timm:load",
        example="timm:resnet18.a1_in1k",
        install="'edgex[timm]'",
        vendors=("timm", "torchvision"),
    ),
    "torchvision": Scheme(
        entry=f"{_HOME}.torchvision:load",
        example="torchvision:mobilenet_v3_small",
        install="'edgex[torchvision]'",
        vendors=("torchvision",),
    ),
    "keras": Scheme(
        entry=f"{_HOME}.keras:load", example="keras:MobileNetV2", install="'edgex[keras]'", vendors=("keras",)
    ),
}
FILES: dict[str, Scheme] = {
    ".pt2": Scheme(entry=f"{_HOME}.exported:load", example="model.pt2"),
}
# What has a colon and is no scheme.
FUNCTION = Scheme(entry=f"{_HOME}.function:load", example="package.module:function")


def load(scheme: Scheme, source: str, rest: str, missing: Missing) -> "Offer":
    """Import a row's code and call it.

    Raises:
        MissingExtraError: If its vendor's package is not installed.
        BadInputError: If there is no such network.
        SpecError: If something is said by nobody.
    """
    module, _, function = scheme.entry.partition(":")
    try:
        entry: Load = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        # Only the vendor's absence: a module of ours, or of the vendor's own, that is not there is a bug to be seen.
        if error.name not in scheme.vendors:
            raise
        raise MissingExtraError(
            f"{source} needs {error.name!r}, which is not installed: pip install {scheme.install}"
        ) from error
    return entry(source, rest, missing)
