"""What a user may set about a conversion; every flag of `convert-model` is a field here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgex_converters.target import FORMATS, PRECISIONS, Format, Target
from edgex_runtime.spec import Precision

Range = Literal["recommended", "minmax", "mean", "percentile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """How much a stage may change the answers.

    Attributes:
        fp32_difference: Largest absolute logit difference, as a share of the reference logits' range.
        fp16_agreement: Least share of images with the reference's top-1.
        int8_accuracy: Least share of the reference's accuracy (MLPerf Inference's 99 % rule).
    """

    fp32_difference: float = 1e-3
    fp16_agreement: float = 0.995
    int8_accuracy: float = 0.99

    def __post_init__(self) -> None:
        for name in ("fp16_agreement", "int8_accuracy"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name}: want a share in (0, 1], got {getattr(self, name)}")
        if not self.fp32_difference > 0:
            raise ValueError(f"fp32_difference: want more than 0, got {self.fp32_difference}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeConfig:
    """How the int8 stages choose their scales.

    Attributes:
        activation_range: From what the calibration photos showed: `minmax` takes the extremes, `mean` is the
            mean of each photo's, `percentile` cuts the rarest 0.01 %; `recommended` is the best measured for each tool.
        weight_bits: 7 halves the weights' range (onnxruntime's reduce_range) so that x86 CPUs without VNNI, whose
            16-bit intermediate sums saturate at 8, compute what every other CPU does. Of ONNX and OpenVINO;
            TFLite's have 8.
        calibration_images: How many photos of the calibration folder to take, class by class.
        seed: Of that choice.
    """

    activation_range: Range = "recommended"
    weight_bits: Literal[7, 8] = 7
    calibration_images: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        if self.calibration_images < 32:
            raise ValueError(f"calibration_images: want 32 or more, got {self.calibration_images}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertConfig:
    """One conversion.

    Attributes:
        name: Stem of the files that are made.
        out: Folder for them.
        formats: Which formats.
        precisions: Which precisions.
        calibration: Folder of photos, one folder a class; needed for int8.
        evaluation: Folder of photos, one folder a class, none of which stands in the calibration set.
        gates: What must hold.
        quantize: How int8 is made.
        repair: Whether an int8 artifact that fails its gate is made again with its worst layers in float, one more at
            a time.
        repair_layers: How many layers at most.
        threads: For the engines that verify; None leaves it to them.
        jobs: How many stages that do not wait for each other run at the same time, each in a process of its own; 1 runs
            them one by one in this process.
        use_cache: Whether stages that an earlier run has finished are taken from the user's cache.
        command: What the user typed, for the provenance.
    """

    name: str
    out: Path
    evaluation: Path
    calibration: Path | None = None
    formats: tuple[Format, ...] = FORMATS
    precisions: tuple[Precision, ...] = PRECISIONS
    gates: GateConfig = field(default_factory=GateConfig)
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    repair: bool = False
    repair_layers: int = 8
    threads: int | None = None
    jobs: int = 1
    use_cache: bool = True
    command: str = ""

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError(f"name: want a file's stem, got {self.name!r}")
        if not self.formats or not self.precisions:
            raise ValueError("want at least one format and one precision")
        if self.repair_layers < 1:
            raise ValueError(f"repair_layers: want 1 or more, got {self.repair_layers}")
        if self.jobs < 1:
            raise ValueError(f"jobs: want 1 or more, got {self.jobs}")
        if "int8" in self.precisions and self.calibration is None:
            raise ValueError("int8 needs the photos that it is calibrated on: --calib DIR, one folder a class")

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every artifact that was asked for."""
        return tuple(Target(kind, precision) for kind in self.formats for precision in self.precisions)
