"""The whole way in one call, on photos that the demo draws itself: draw → train → convert → prove → run live."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgex.demo.dataset import write_dataset
from edgex.demo.picture import write_picture
from edgex.demo.stream import StreamSettings, Track, write_stream
from edgex.training.config import TrainConfig
from edgex.training.observer import EpochMetrics
from edgex_converters.config import ConvertConfig, QuantizeConfig
from edgex_converters.report.report import HTML_NAME, write_report
from edgex_converters.result import Conversion, Outcome
from edgex_converters.target import Target
from edgex_runtime.live import Hooks, run_live
from edgex_runtime.model import Model
from edgex_runtime.sinks.registry import Surroundings, open_sink
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.registry import open_source
from edgex_runtime.summary import LiveSummary

if TYPE_CHECKING:
    from edgex.training.loop import TrainResult

NAME = "signs"
# What a board would run, where it passed: its answers are the ones on the video and on the picture.
SHOWN = Target("tflite", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """One demo. Attributes are described by their own `help`, which the command line prints."""

    out: Path = field(default=Path("demo"), metadata={"help": "Folder for everything that it makes."})
    seed: int = field(default=0, metadata={"help": "Of the photos, the film, the training and the calibration."})
    train_per_class: int = field(default=240, metadata={"help": "Photos of each sign to train on."})
    val_per_class: int = field(default=60, metadata={"help": "Photos of each sign to judge by."})
    epochs: int = field(default=12, metadata={"help": "Passes over the photos."})
    width: float = field(default=0.25, metadata={"help": "Width of every layer, as a share of Xception's."})
    middle_blocks: int = field(default=2, metadata={"help": "Blocks of the middle flow; Xception has 8."})
    image_size: int = field(default=96, metadata={"help": "Height and width of the network's input, pixels."})
    shots: int = field(default=16, metadata={"help": "Sheets that the film shows."})

    def train_config(self) -> TrainConfig:
        """How the network is trained."""
        return TrainConfig(
            data=self.out / "photos",
            out=self.out / "run",
            name=NAME,
            overwrite=True,
            width=self.width,
            middle_blocks=self.middle_blocks,
            image_size=self.image_size,
            resize="crop",
            epochs=self.epochs,
            lr=4e-3,
            ema=0.98,
            seed=self.seed,
        )


class DemoObserver(Protocol):
    """Sees a demo go by; called from the thread that runs it."""

    def begin(self, step: str) -> None:
        """A step begins: ``draw photos``, ``train``, ``quantize_onnx``."""
        ...

    def advance(self, done: int, total: int) -> None:
        """The step has done `done` of `total`."""
        ...

    def finish(self, outcome: Outcome) -> None:
        """An artifact has its verdict."""
        ...

    def note(self, line: str) -> None:
        """Something that a person wants to read came out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """One artifact before the film.

    Attributes:
        target: Which artifact.
        path: Its file.
        summary: What the frame loop measured.
        accuracy: Share of right answers among the frames that show something definite, 0..1.
        scored: How many those are.
        results: Every result, a JSON line each.
        answers: Frame index → what it said.
    """

    target: Target
    path: Path
    summary: LiveSummary
    accuracy: float
    scored: int
    results: Path
    answers: dict[int, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemoResult:
    """What a demo leaves behind.

    Attributes:
        photos: The drawn set.
        training: The run that made the checkpoint.
        conversion: Every artifact with its verdict.
        report: The conversion as a page.
        film: The video that was played.
        runs: A live run for each artifact that passed.
        video: The film with the answers of `SHOWN` on it; None where that artifact failed its gate.
        picture: Frames of that video, framed by right and wrong; likewise.
    """

    photos: Path
    training: "TrainResult"
    conversion: Conversion
    report: Path
    film: Path
    runs: tuple[LiveRun, ...]
    video: Path | None
    picture: Path | None


@dataclass(slots=True)
class _TrainingView:
    """Turns what a training run tells into what a demo tells."""

    observer: DemoObserver
    epochs: int
    done: int = 0
    total: int = 0

    def stage(self, name: str, total: int) -> None:
        self.done, self.total = 0, total
        self.observer.begin(f"train: {name}")

    def advance(self, count: int) -> None:
        self.done += count
        self.observer.advance(self.done, self.total)

    def epoch(self, metrics: EpochMetrics) -> None:
        self.observer.note(
            f"epoch {metrics.epoch} of {self.epochs}: loss {metrics.train_loss:.2f}, "
            f"{metrics.val_top1:.1%} of the val photos right"
        )


def run_demo(config: DemoConfig, observer: DemoObserver) -> DemoResult:
    """Draw photos, train on them, convert the network, and classify a film with every artifact that passes its gate.

    Raises:
        DatasetError: If `config.out` holds photos that are not the demo's.
        MissingExtraError: If a tool of the conversion is not installed.
    """
    observer.begin("draw photos")
    photos = write_dataset(
        config.out / "photos",
        train_per_class=config.train_per_class,
        val_per_class=config.val_per_class,
        seed=config.seed,
        progress=observer.advance,
    )
    training = _train(config, observer)
    conversion, report = _convert(config, training, observer)
    observer.begin("draw the film")
    film = config.out / "film.mp4"
    track = write_stream(film, StreamSettings(seed=config.seed, shots=config.shots), progress=observer.advance)
    passed = [outcome for outcome in conversion.outcomes if outcome.status == "passed" and outcome.path is not None]
    runs = tuple(_play(config, outcome, film, track, observer) for outcome in passed)
    video = picture = None
    for run in runs:
        if run.target == SHOWN:
            video, picture = _video(config), config.out / "demo.png"
            write_picture(video, track, run.answers, picture)
    return DemoResult(
        photos=photos,
        training=training,
        conversion=conversion,
        report=report,
        film=film,
        runs=runs,
        video=video,
        picture=picture,
    )


def _train(config: DemoConfig, observer: DemoObserver) -> "TrainResult":
    # Here and not at the top: a command's help should not wait for torch.
    from edgex.training.loop import train

    observer.begin("train")
    return train(config.train_config(), _TrainingView(observer, config.epochs))


def _convert(config: DemoConfig, training: "TrainResult", observer: DemoObserver) -> tuple[Conversion, Path]:
    from edgex.networks.source import Missing, resolve
    from edgex_converters.pipeline import convert

    settings = ConvertConfig(
        name=NAME,
        out=config.out / "artifacts",
        evaluation=training.val_folder,
        calibration=training.train_folder,
        precisions=("fp32", "int8"),
        quantize=QuantizeConfig(seed=config.seed),
        command="edgex demo",
    )
    conversion = convert(resolve(str(training.checkpoint), Missing()), settings, observer)
    write_report(conversion, settings)
    return conversion, settings.out / HTML_NAME


def _play(config: DemoConfig, outcome: Outcome, film: Path, track: Track, observer: DemoObserver) -> LiveRun:
    """Classify every frame of the film, as ``edgex live ARTIFACT film.mp4 --out …`` does."""
    assert outcome.path is not None, "only an artifact that passed is played"
    observer.begin(f"live: {outcome.target}")
    results = config.out / "live" / f"{outcome.path.name}.jsonl"
    results.parent.mkdir(exist_ok=True)
    wanted = [str(results), *([str(_video(config))] if outcome.target == SHOWN else [])]
    answers: dict[int, str] = {}

    def note(result: LiveResult) -> None:
        if result.index is not None and result.label is not None:
            answers[result.index] = result.label
            observer.advance(len(answers), len(track.signs))

    with Model(outcome.path) as model:
        model.warm_up()
        source = open_source(str(film))
        sinks = [open_sink(uri, Surroundings(source=source.info)) for uri in wanted]
        summary = run_live(model, source, sinks, hooks=Hooks(on_result=note))
    accuracy, scored = track.accuracy(answers)
    return LiveRun(
        target=outcome.target,
        path=outcome.path,
        summary=summary,
        accuracy=accuracy,
        scored=scored,
        results=results,
        answers=answers,
    )


def _video(config: DemoConfig) -> Path:
    return config.out / "annotated.mp4"
