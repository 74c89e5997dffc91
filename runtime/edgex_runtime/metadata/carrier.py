"""What every file format offers to the contract: a seam of four functions, one module a format, no vendor package."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from edgex_runtime.spec import ModelSpec

CONTRACT_KEY = "edgex"
SEAL_KEY = "edgex_seal"
# A contract with ten thousand labels and their golden logits stays under 5 MB; more than this is no contract.
LARGEST_CONTRACT_BYTES = 32 * 1024 * 1024

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a model file carries besides its graph.

    Attributes:
        contract: Our JSON text; None in a file that is not ours.
        labels: The class names in the field that the format's own ecosystem reads, as spelt there; None without it.
        seal: Digest of the content when the contract was written; None in a file that is not ours, or older.
        content: Where in the file graph and weights stand: (first byte, byte behind the last), in order.
    """

    contract: str | None
    labels: tuple[str, ...] | None
    seal: str | None
    content: tuple[tuple[int, int], ...]


def copy_bytes(source: BinaryIO, target: BinaryIO, count: int) -> None:
    """Copy the next `count` bytes, a piece at a time: a model file may be larger than the memory."""
    while count:
        chunk = source.read(min(count, _CHUNK_BYTES))
        target.write(chunk)
        count -= len(chunk)


class Carrier(Protocol):
    """One file format, implemented by its module; hostile bytes raise ModelFileError and never exhaust memory."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """Every file of the model at `path`, that one first."""
        ...

    def read(self, path: Path) -> Carried:
        """Read what the file carries, without its weights."""
        ...

    def write(self, path: Path, spec: ModelSpec, seal: str) -> None:
        """Put contract, seal, and the labels in the ecosystem's own field, in place of earlier ones; keep all else."""
        ...

    def spell(self, label: str) -> str:
        """A label as the ecosystem's own field spells it."""
        ...
