"""What `edgex train` may be told: one frozen dataclass, of which every field is a flag of the command line."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edgex_runtime.errors import BadInputError
from edgex_runtime.schema import to_plain
from edgex_runtime.spec import ResizeMode

Optimizer = Literal["adamw", "sgd"]
TrainDevice = Literal["auto", "cpu", "gpu"]

# What a run may change between a kill and its `--resume` without changing a number: places and speed, never the plan.
# The photos themselves are compared by content.
FREE_TO_CHANGE = frozenset({"data", "out", "name", "weights", "qat", "resume", "overwrite", "workers", "cache_mb"})

# Flags left open, by the way of training: (from random weights, whole network from given weights, frozen trunk, for
# int8).
_EPOCHS = (60, 20, 8, 5)
_ADAMW_LR = (2e-3, 5e-4, 1e-3, 4e-4)
_SGD_LR = (5e-2, 1e-2, 2e-2, 2e-2)
_WEIGHT_DECAY: dict[Optimizer, float] = {"adamw": 5e-2, "sgd": 1e-4}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run. What is None is decided by `resolved` from the other settings.

    Attributes are described by their own `help`, which the command line prints.
    """

    data: Path = field(metadata={"help": "Folder with one folder of photos a class, or with train/ and val/ of them."})
    out: Path | None = field(default=None, metadata={"help": "Run folder; default runs/NAME."})
    name: str | None = field(
        default=None, metadata={"help": "What the checkpoint is called; default the data folder's name."}
    )
    weights: str | None = field(
        default=None, metadata={"help": "Weights to begin with: a file, or 'imagenet' to fetch them."}
    )
    freeze_trunk: bool = field(
        default=False,
        metadata={"help": "Train only what the weights leave uncovered (at least the classifier), on cached features."},
    )
    qat: Path | None = field(
        default=None,
        metadata={
            "help": "A float checkpoint to fine-tune as int8 computes; its ranges are learned for all three formats."
        },
    )
    resume: bool = field(
        default=False, metadata={"help": "Go on with the run in the run folder after an interruption."}
    )
    overwrite: bool = field(
        default=False,
        metadata={"help": "Start anew in a run folder that holds a run already; fitting cached features are kept."},
    )

    width: float = field(default=1.0, metadata={"help": "Width of every layer, as a share of Xception's."})
    middle_blocks: int = field(default=8, metadata={"help": "Blocks of the middle flow; Xception has 8."})
    image_size: int = field(default=299, metadata={"help": "Height and width of the network's input, pixels."})
    dropout: float = field(
        default=0.0, metadata={"help": "Share of features dropped before the classifier, in training."}
    )
    resize: ResizeMode | None = field(
        default=None,
        metadata={"help": "How a photo becomes the input, here and wherever the network runs; default stretch."},
    )
    crop_fraction: float = field(
        default=1.0, metadata={"help": "With --resize crop: share of the largest centre that is kept."}
    )

    epochs: int | None = field(
        default=None,
        metadata={
            "help": "Passes over the photos; default 60, with --weights 20, with --freeze-trunk 8, with --qat 5."
        },
    )
    batch_size: int = field(default=32, metadata={"help": "Photos a step."})
    optimizer: Optimizer = field(default="adamw", metadata={"help": "AdamW, or SGD with Nesterov momentum 0.9."})
    lr: float | None = field(
        default=None, metadata={"help": "Peak learning rate; default by optimizer and way of training."}
    )
    weight_decay: float | None = field(
        default=None, metadata={"help": "Decay of kernels, never of biases and batch-norm; default by optimizer."}
    )
    warmup_epochs: float = field(default=0.5, metadata={"help": "Epochs of linear warm-up before the cosine."})
    label_smoothing: float = field(
        default=0.1, metadata={"help": "Share of the target that is spread over all classes."}
    )
    clip_norm: float = field(default=5.0, metadata={"help": "Largest norm of the gradient; 0 leaves it alone."})
    ema: float = field(
        default=0.999,
        metadata={"help": "Decay of the weights' moving average, which is what gets saved; 0 saves the last weights."},
    )

    flip: bool = field(
        default=True, metadata={"help": "Mirror photos left to right; not for signs, arrows and letters."}
    )
    min_scale: float = field(
        default=0.4, metadata={"help": "Smallest share of a photo's area that a random crop keeps."}
    )
    rotate_deg: float = field(default=10.0, metadata={"help": "Largest random rotation, degrees."})
    color: float = field(
        default=0.3, metadata={"help": "Strength of brightness, contrast, saturation and hue jitter, 0..1."}
    )
    degrade: float = field(default=0.15, metadata={"help": "Probability of each of blur, noise and JPEG artefacts."})
    erase: float = field(default=0.0, metadata={"help": "Probability that a random rectangle is erased."})
    views: int = field(
        default=2,
        metadata={"help": "With --freeze-trunk: views of each photo, the plain one and lightly augmented ones."},
    )

    val_share: float = field(default=0.2, metadata={"help": "Share of photos held out where there is no val folder."})
    seed: int = field(default=0, metadata={"help": "Of the split, the new weights, the order and the augmentation."})
    device: TrainDevice = field(default="auto", metadata={"help": "auto takes a GPU where there is one."})
    amp: bool = field(default=True, metadata={"help": "Mixed precision, on a GPU only."})
    workers: int | None = field(
        default=None, metadata={"help": "Threads that read and augment photos; default one a CPU, at most 8."}
    )
    cache_mb: int = field(
        default=2048, metadata={"help": "Memory for decoded photos; the rest is read again in every epoch."}
    )

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise BadInputError(f"--{name.replace('_', '-')}: want {low:g} to {high:g}, got {value:g}")
        for name, choices in (("optimizer", Optimizer), ("device", TrainDevice), ("resize", ResizeMode)):
            if getattr(self, name) not in (*get_args(choices), None):
                raise BadInputError(
                    f"--{name}: want one of {', '.join(get_args(choices))}, got {getattr(self, name)!r}"
                )
        if self.freeze_trunk and not self.weights:
            raise BadInputError("--freeze-trunk wants --weights FILE: there is no trunk to freeze in random weights")
        if self.qat is not None and (self.weights or self.freeze_trunk):
            raise BadInputError("--qat goes on from a whole checkpoint: leave --weights and --freeze-trunk out")
        if self.resume and self.overwrite:
            raise BadInputError("--resume goes on with a run and --overwrite drops it: give one of them")

    def resolved(self) -> "TrainConfig":
        """The same run with every open setting decided."""
        way = 3 if self.qat else 2 if self.freeze_trunk else 1 if self.weights else 0
        name = self.name or (f"{self.qat.stem}-qat" if self.qat else self.data.resolve().name or "photos")
        return dataclasses.replace(
            self,
            name=name,
            out=self.out or Path("runs") / name,
            resize=self.resize or "stretch",
            epochs=self.epochs or _EPOCHS[way],
            lr=self.lr or (_ADAMW_LR if self.optimizer == "adamw" else _SGD_LR)[way],
            weight_decay=self._weight_decay,
            # Half precision has fewer digits than the levels that are learned.
            amp=self.amp and self.qat is None,
        )

    @property
    def _weight_decay(self) -> float:
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.0 if self.qat else _WEIGHT_DECAY[self.optimizer]

    def numbers(self) -> dict[str, Any]:
        """The settings that decide a run's numbers, as plain data: what `--resume` compares."""
        return {
            item.name: to_plain(getattr(self, item.name))
            for item in dataclasses.fields(self)
            if item.name not in FREE_TO_CHANGE
        }


# Field → (least, most), both allowed.
_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "batch_size": (1, 65_536),
    "lr": (1e-9, 100),
    "weight_decay": (0, 10),
    "warmup_epochs": (0, 1000),
    "label_smoothing": (0, 0.9),
    "clip_norm": (0, 1e6),
    "ema": (0, 0.999999),
    "width": (0.05, 4),
    "middle_blocks": (0, 64),
    "image_size": (32, 4096),
    "dropout": (0, 0.95),
    "crop_fraction": (0.05, 1),
    "min_scale": (0.05, 1),
    "rotate_deg": (0, 180),
    "color": (0, 1),
    "degrade": (0, 1),
    "erase": (0, 1),
    "views": (1, 64),
    "val_share": (0.01, 0.9),
    "seed": (0, 2**63 - 1),
    "workers": (0, 256),
    "cache_mb": (0, 2**30),
}
