"""What a model answered on the host, and whether it answers the same on the board: `proof.json`.

Recorded when the bundle is made; on the board `python -m edgex_devices.proof RELEASE` runs it in the new release's own
environment, before anything is switched.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_devices.agent.config import CONFIG, PROOF, AppConfig
from edgex_runtime.engines.engine import Device
from edgex_runtime.errors import EdgexError, SpecError
from edgex_runtime.golden import load_golden_images
from edgex_runtime.model import Model
from edgex_runtime.schema import from_plain, to_plain
from edgex_runtime.selftest import tolerance

SCHEMA_VERSION = 1
PHOTOS = "photos"
_GOLDEN = "golden:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One picture's: ``golden:NAME``, or a path in the bundle."""

    image: str
    label: str
    logits: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The host's answers.

    Attributes:
        engine: Name and version of what gave them.
        tolerance: Largest absolute difference of a logit that another CPU may cause.
        answers: For the golden images, and for the photos that travel with the bundle.
        schema: Version of this schema.
    """

    engine: str
    tolerance: float
    answers: tuple[Answer, ...]
    schema: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """Serialise."""
        return json.dumps(to_plain(self), sort_keys=True, ensure_ascii=False, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> "Proof":
        """Parse.

        Raises:
            SpecError: If it is not of this schema.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise SpecError(f"{PROOF}: want JSON: {error}") from error
        return from_plain(cls, data, where=PROOF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the board answered.

    Attributes:
        same: Whether every label is the host's and every logit within the tolerance.
        why: What differs.
        images: How many pictures were compared.
        largest: The largest difference of a logit.
        engine: Name, version and device of what answered on the board.
    """

    same: bool
    why: str = ""
    images: int = 0
    largest: float = 0.0
    engine: str = ""


def record(folder: Path, config: AppConfig) -> Proof:
    """Run a bundle's model here, on the golden images and on the photos in its folder.

    On the CPU, whatever the board runs it on: the host need not have that accelerator, whose answers are held to these.

    Raises:
        EdgexError: If it cannot be opened, or fails its self-test.
    """
    photos = sorted(str(path.relative_to(folder)) for path in (folder / PHOTOS).glob("*"))
    with _open(folder, replace(config, device="cpu")) as model:
        images = [*(f"{_GOLDEN}{image.name}" for image in load_golden_images()), *photos]
        answers = tuple(_answer(model, folder, image) for image in images)
        logits = np.array([answer.logits for answer in answers], dtype=np.float32)
        info = model.engine.info
        return Proof(
            engine=f"{info.name} {info.version}", tolerance=tolerance(model.spec.precision, logits), answers=answers
        )


def compare(folder: Path) -> Verdict:
    """Run an installed release's model here, and hold it to the host's answers.

    Raises:
        EdgexError: If it cannot be opened, or fails its self-test.
    """
    config = AppConfig.from_json((folder / CONFIG).read_bytes())
    proof = Proof.from_json((folder / PROOF).read_bytes())
    largest = 0.0
    with _open(folder, config) as model:
        info = model.engine.info
        engine = f"{info.name} {info.version} on {info.device}"
        for wanted in proof.answers:
            got = _answer(model, folder, wanted.image)
            distance = _distance(got, wanted)
            largest = max(largest, distance)
            if got.label != wanted.label or not distance <= proof.tolerance:
                why = (
                    f"{wanted.image}: the host's {proof.engine} said {wanted.label!r}, {engine} here says "
                    f"{got.label!r}; a logit is {distance:.3g} off, {proof.tolerance:.3g} is allowed"
                )
                return Verdict(same=False, why=why, images=len(proof.answers), largest=largest, engine=engine)
    return Verdict(same=True, images=len(proof.answers), largest=largest, engine=engine)


def _open(folder: Path, config: AppConfig) -> Model:
    device: Device = config.device  # type: ignore[assignment]  # the engine refuses an unknown one
    spec = folder / config.spec if config.spec else None
    return Model(folder / config.model, engine=config.engine, device=device, threads=config.threads, spec=spec)


def _answer(model: Model, folder: Path, image: str) -> Answer:
    picture = _golden(image) if image.startswith(_GOLDEN) else folder / image
    prediction = model.predict(picture)
    return Answer(image=image, label=prediction.label, logits=tuple(map(float, prediction.logits)))


def _golden(image: str) -> NDArray[np.uint8]:
    return next(golden.image for golden in load_golden_images() if f"{_GOLDEN}{golden.name}" == image)


def _distance(got: Answer, wanted: Answer) -> float:
    if len(got.logits) != len(wanted.logits):
        return float("inf")
    return float(np.abs(np.subtract(got.logits, wanted.logits)).max())


def main(arguments: list[str]) -> int:
    """Compare, and print the verdict as JSON; an artifact that cannot be used is a verdict too."""
    try:
        verdict = compare(Path(arguments[0]))
    except EdgexError as error:
        verdict = Verdict(same=False, why=str(error))
    sys.stdout.write(json.dumps(to_plain(verdict)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
