"""What `edgex tune` tries: a model file, the engine and device that run it, threads, and whether they spin."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgex_devices.detect import ACCELERATOR_OF, accelerators
from edgex_devices.facts import Facts
from edgex_runtime.engines.engine import Device, EngineOptions
from edgex_runtime.engines.registry import ENGINES
from edgex_runtime.errors import BadInputError, MissingExtraError
from edgex_runtime.metadata.registry import carrier_for
from edgex_runtime.spec import ModelSpec

# It runs contracts, not models.
_NO_ENGINE = "fake"
_SPINS = "onnxruntime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to run one file."""

    model: str
    engine: str
    device: Device = "cpu"
    threads: int | None = None
    spin: bool = False

    @property
    def options(self) -> EngineOptions:
        """For the engine."""
        return EngineOptions(device=self.device, threads=self.threads, spin=self.spin)

    def __str__(self) -> str:
        """For people: ``model-int8.onnx by onnxruntime on cpu, 2 threads, spinning``."""
        threads = "" if self.threads is None else f", {self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{Path(self.model).name} by {self.engine} on {self.device}{threads}{', spinning' if self.spin else ''}"


def candidates(model: Path, facts: Facts, threads: tuple[int, ...], engines: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Every way to run a file that this machine offers.

    Args:
        model: The file.
        facts: Of this machine.
        threads: To try; empty takes `usual_threads`.
        engines: To try; empty takes all that are installed.

    Raises:
        ModelFileError: If there is no such file, or its suffix is none that edgex knows.
        BadInputError: If an engine that is named is not known.
        MissingExtraError: If none of the engines for it is installed.
    """
    carrier_for(model)
    if unknown := [name for name in engines if name not in ENGINES]:
        raise BadInputError(f"engine {unknown[0]!r} is not known; known are {', '.join(ENGINES)}")
    suffix = model.suffix.lower()
    able = [name for name, entry in ENGINES.items() if suffix in entry.suffixes + entry.by_name and name != _NO_ENGINE]
    wanted = [name for name in able if not engines or name in engines]
    installed = [name for name in wanted if any(find_spec(vendor) for vendor in ENGINES[name].vendors)]
    if not installed:
        names = (
            " or ".join(f"pip install 'edgex[{ENGINES[name].extra}]'" for name in wanted) or f"one of {', '.join(able)}"
        )
        raise MissingExtraError(f"{model}: none of its engines is installed: {names}")
    counts = threads or usual_threads(facts.cpu.usable)
    return tuple(item for name in installed for item in _by_engine(str(model), name, counts, facts))


def _by_engine(model: str, engine: str, counts: tuple[int, ...], facts: Facts) -> Iterator[Candidate]:
    for count in counts:
        yield Candidate(model=model, engine=engine, threads=count)
        if engine == _SPINS and count > 1:
            yield Candidate(model=model, engine=engine, threads=count, spin=True)
    there = accelerators(facts)
    for (name, device), accelerator in ACCELERATOR_OF.items():
        if name == engine and accelerator in there:
            yield Candidate(model=model, engine=engine, device=device)


def usual_threads(cores: int) -> tuple[int, ...]:
    """Powers of two up to the number of cores, and that number.

    >>> usual_threads(6), usual_threads(1)
    ((1, 2, 4, 6), (1,))
    """
    powers = {1 << n for n in range(cores.bit_length()) if 1 << n <= cores}
    return tuple(sorted(powers | {max(cores, 1)}))


def unproved(spec: ModelSpec | None) -> str:
    """Why a file does not count, in words; empty for one whose every gate has passed."""
    if spec is None:
        return "it carries no contract, so that nothing is known of its accuracy: convert it with edgex convert"
    if not spec.evidence:
        return "its contract holds no evidence: convert it with --eval"
    failed = [item for item in spec.evidence if not item.passed]
    return f"it failed its gate ({failed[0].stage}): {failed[0].why or failed[0].gate}" if failed else ""
