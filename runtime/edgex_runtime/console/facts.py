"""What stays the same during a run, as the page shows it: the models' contracts and evidence, engines, sources."""

from dataclasses import dataclass

from edgex_runtime.control import Classifier, ModelChoice
from edgex_runtime.explanation import find_explainer
from edgex_runtime.spec import Evidence, ModelSpec

LABELS_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFacts:
    """One stage's evidence, ready to be read."""

    stage: str
    measured: tuple[tuple[str, str], ...]
    images: int
    gate: str
    passed: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One loaded model.

    Attributes:
        name: What the user switches by.
        title: Its contract's name.
        engine: Who runs it, really.
        device: On what.
        explains: Whether Grad-CAM can be had of it.
        labels: Its classes, the first `LABELS_SHOWN`.
        contract: Rows of name and value.
        evidence: What was measured.
    """

    name: str
    title: str
    engine: str
    device: str
    explains: bool
    labels: tuple[str, ...]
    contract: tuple[tuple[str, str], ...]
    evidence: tuple[EvidenceFacts, ...]


def model_facts(models: ModelChoice | None) -> tuple[ModelFacts, ...]:
    """Of all loaded models; none where nobody said what classifies."""
    return tuple(_facts(name, model) for name, model in models.models.items()) if models else ()


def _facts(name: str, model: Classifier) -> ModelFacts:
    spec, info = model.spec, model.info
    return ModelFacts(
        name=name,
        title=spec.name,
        engine=f"{info.name} {info.version}",
        device=info.device,
        explains=find_explainer(model) is not None,
        labels=spec.labels[:LABELS_SHOWN],
        contract=_contract(spec),
        evidence=tuple(_evidence(item) for item in spec.evidence),
    )


def _contract(spec: ModelSpec) -> tuple[tuple[str, str], ...]:
    image, made = spec.input, spec.provenance
    crop = f", {spec.resize.crop_fraction:.0%} of the centre" if spec.resize.mode == "crop" else ""
    temperature = f", temperature {spec.temperature:g}" if spec.output == "logits" else ""
    held = f"{len(spec.golden.samples)} golden samples" if spec.golden else "nothing: a foreign model"
    rows = [
        ("classes", str(len(spec.labels))),
        ("input", f"{image.width} × {image.height} {image.dtype} {image.layout} {image.color}"),
        ("resize", f"{spec.resize.mode}{crop}"),
        ("precision", spec.precision + (f", {len(spec.float_ops)} ops in float" if spec.float_ops else "")),
        ("output", f"{spec.output}{temperature}"),
        ("network", spec.network.family if spec.network else ""),
        ("held to", held),
        ("made on", made.date[:16].replace("T", " ")),
        ("from", made.source_sha256[:12] + "…" if made.source_sha256 else ""),
    ]
    return tuple((name, value) for name, value in rows if value)


def _evidence(item: Evidence) -> EvidenceFacts:
    measured = tuple((name.replace("_", " "), f"{value:.4g}") for name, value in item.metrics.items())
    return EvidenceFacts(
        stage=item.stage, measured=measured, images=item.images, gate=item.gate, passed=item.passed, why=item.why
    )
