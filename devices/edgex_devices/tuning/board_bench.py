"""`edgex deploy bench`: what a board said of the release that it runs, as figures."""

from dataclasses import dataclass
from typing import Any

from edgex_devices.tuning.bench import BenchFigures, summarise, unsteady
from edgex_devices.tuning.candidate import Candidate
from edgex_devices.tuning.measure import Sample
from edgex_runtime.schema import from_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardBench:
    """One board's.

    Attributes:
        host: Its name.
        release: What it serves.
        candidate: What runs how there.
        figures: What it takes.
        remarks: What makes the figures less certain, and what is wrong.
        serves: Whether the service runs as it did before.
    """

    host: str
    release: str
    candidate: Candidate
    figures: BenchFigures
    remarks: tuple[str, ...]
    serves: bool


def read_answer(host: str, answer: dict[str, Any]) -> BoardBench:
    """What the agent answered, typed.

    Raises:
        SpecError: If the release's edgex measures otherwise than this one.
    """
    samples = [from_plain(Sample, plain, where=f"{host}: measurement") for plain in answer["samples"]]
    figures = summarise(samples)
    return BoardBench(
        host=host,
        release=answer["release"],
        candidate=samples[0].candidate,
        figures=figures,
        remarks=(*_remarks(answer), *unsteady([figures])),
        serves=not answer["why"],
    )


def _remarks(answer: dict[str, Any]) -> list[str]:
    remarks = []
    if answer["why"]:
        remarks.append(f"its service was started again, but does not serve: {answer['why']}")
    if answer["beside"]:
        remarks.append("measured beside its service, which took its share of the board")
    if not answer["was_active"]:
        remarks.append("its service did not run before, and was left so")
    if answer["throttled_after"]:
        since = "before and after" if answer["throttled_before"] else "since it was measured"
        remarks.append(f"the board throttles, {since} ({', '.join(answer['throttled_after'])}): cooled, it is faster")
    return remarks
