"""`edgex convert`, also `convert-model`: a trained network → ONNX, OpenVINO and TFLite files, each with its proof."""

import json
import math
import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import click

from edgex.cli.progress import PipelineProgress
from edgex_converters.config import ConvertConfig, GateConfig, QuantizeConfig, Range
from edgex_converters.target import FORMATS, PRECISIONS
from edgex_runtime.dataset import split_folders
from edgex_runtime.errors import BadInputError
from edgex_runtime.spec import ModelSpec, ResizeMode

# One number a channel: R, G, B.
Three = tuple[float, float, float]


class CommaList(click.ParamType[tuple[str, ...]]):
    """`a,b,c`, each one of a choice, each once, in the order given."""

    name = "list"

    def __init__(self, choices: tuple[str, ...]) -> None:
        self._choices = choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split and check."""
        words = value if isinstance(value, tuple) else tuple(word.strip() for word in str(value).split(","))
        for word in words:
            if word not in self._choices:
                self.fail(f"want {', '.join(self._choices)}, separated by commas, got {word!r}", param, ctx)
        return tuple(dict.fromkeys(words))


class SizeType(click.ParamType[tuple[int, int]]):
    """`224`, or `192x256`: height × width."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Split and check."""
        words = [value] if isinstance(value, int) else str(value).lower().split("x")
        if len(words) > 2 or not all(str(word).isascii() and str(word).isdigit() and int(word) for word in words):
            self.fail(f"want a size such as 224, or 192x256 for height x width, got {value!r}", param, ctx)
        return int(words[0]), int(words[-1])


class ChannelsType(click.ParamType[Three]):
    """`R,G,B`, or one number for all three."""

    name = "R,G,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Three:
        """Split and check."""
        if isinstance(value, tuple):
            return value[0], value[1], value[2]
        try:
            numbers = tuple(float(word) for word in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in (1, 3) or not all(math.isfinite(number) for number in numbers):
            self.fail(f"want one number a channel, R,G,B, in pixels 0..255, got {value!r}", param, ctx)
        return numbers[0], numbers[len(numbers) // 2], numbers[-1]


@click.command(name="convert", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("source")
@click.option("--to", "formats", type=CommaList(FORMATS), default=",".join(FORMATS), show_default=True, help="Formats.")
@click.option(
    "--precision",
    "precisions",
    type=CommaList(PRECISIONS),
    default=",".join(PRECISIONS),
    show_default=True,
    help="Precisions.",
)
@click.option("--calib", type=click.Path(path_type=Path), help="Photos that calibrate int8, one folder a class.")
@click.option(
    "--eval",
    "evaluation",
    type=click.Path(path_type=Path),
    help="Photos that the gates judge by, one folder a class. [default: the val folder that the checkpoint names]",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("artifacts"), show_default=True)
@click.option("--name", help="Stem of the files. [default: the checkpoint's name]")
@click.option("--gate", default=0.99, show_default=True, help="Share of fp32's accuracy that int8 must keep.")
@click.option(
    "--range",
    "activation_range",
    type=click.Choice(["recommended", "minmax", "mean", "percentile"]),
    default="recommended",
    show_default=True,
    help="How int8 chooses its activation ranges.",
)
@click.option(
    "--weight-bits",
    type=click.Choice(["7", "8"]),
    default="7",
    show_default=True,
    help="7 gives the same answers on CPUs without VNNI; 8 does not, and fails its gate for it.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Make an int8 file that fails its gate again with its worst layers in float, one more at a time.",
)
@click.option(
    "--repair-layers", type=click.IntRange(1), default=8, show_default=True, help="Most layers that --repair may take."
)
@click.option("--calib-images", default=96, show_default=True, help="How many calibration photos to take.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the engines that verify.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Stages at a time, where they do not wait for each other; each in a process with memory of its own.",
)
@click.option("--no-cache", is_flag=True, help="Make everything anew, and keep nothing for the next run.")
@click.option("--weights", metavar="none|default|FILE", help="Of a library's network. [default: those it publishes]")
@click.option("--labels", type=click.Path(path_type=Path), help="Where SOURCE names no classes: a label a line.")
@click.option(
    "--resize",
    type=click.Choice(["crop", "stretch", "letterbox"]),
    help="Where SOURCE does not say it: how photos become the input.",
)
@click.option("--crop-fraction", type=float, help="With --resize crop. [default: the library's, else 1]")
@click.option("--input-size", type=SizeType(), metavar="SIZE", help="Where SOURCE does not say it: 224, or 192x256.")
@click.option("--mean", type=ChannelsType(), metavar="R,G,B", help="Where SOURCE does not say it: in pixels 0..255.")
@click.option("--std", type=ChannelsType(), metavar="R,G,B", help="As --mean; 0 and 1 where the network scales itself.")
@click.option("--color", type=click.Choice(["RGB", "BGR"]), help="Of an .onnx file's input.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
def command(
    source: str,
    formats: tuple[Any, ...],
    precisions: tuple[Any, ...],
    calib: Path | None,
    evaluation: Path | None,
    out: Path,
    name: str | None,
    gate: float,
    activation_range: Range,
    weight_bits: str,
    repair: bool,
    repair_layers: int,
    calib_images: int,
    threads: int | None,
    jobs: int,
    no_cache: bool,
    weights: str | None,
    labels: Path | None,
    resize: ResizeMode | None,
    crop_fraction: float | None,
    input_size: tuple[int, int] | None,
    mean: Three | None,
    std: Three | None,
    color: Literal["RGB", "BGR"] | None,
    as_json: bool,
) -> None:
    """Convert SOURCE, and prove that each file still does what the network did.

    \b
    SOURCE is one of
      FILE.safetensors                          a checkpoint that `edgex train` made
      FILE.safetensors, .h5, .keras             weights of an Xception, by Keras's or timm's names
      xception                                  the same with its ImageNet weights
      timm:NAME, torchvision:NAME, keras:NAME   a network of that library
      package.module:function                   what it returns, a torch.nn.Module of (N, 3, H, W) floats
      FILE.pt2                                  a program by torch.export.save, with a free batch
      FILE.onnx                                 a classifier of others, to ONNX and OpenVINO; takes --color, too

    Preprocessing and labels come from the library; what it does not say is asked for by the flag that says it, and a
    flag wins. `--weights none` draws weights at random, for a try.

    Exit code 4: a file's answers differ from the network's. 5: an int8 file fails its accuracy gate. Such files stand
    under OUT/rejected, and say so themselves.

    A stage whose inputs, settings, tools and code are those of an earlier run is taken from the cache (`edgex cache`),
    also after an interruption.
    """  # noqa: D301 (click wants the character itself before a paragraph that it must not wrap)
    from edgex.networks.source import Missing, resolve
    from edgex_converters.pipeline import convert
    from edgex_converters.report.report import HTML_NAME, write_report

    missing = Missing(
        weights=weights,
        labels=labels,
        resize=resize,
        crop_fraction=crop_fraction,
        input_size=input_size,
        mean=mean,
        std=std,
        color=color,
    )
    model = resolve(source, missing)
    try:
        config = ConvertConfig(
            name=name or model.spec.name,
            out=out,
            evaluation=_dataset(evaluation, "val") if evaluation else _named_by(model.spec),
            calibration=_dataset(calib, "train") if calib else None,
            formats=formats,
            precisions=precisions,
            gates=GateConfig(int8_accuracy=gate),
            quantize=QuantizeConfig(
                activation_range=activation_range,
                weight_bits=7 if weight_bits == "7" else 8,
                calibration_images=calib_images,
            ),
            repair=repair,
            repair_layers=repair_layers,
            threads=threads,
            jobs=jobs,
            use_cache=not no_cache,
            command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        )
    except ValueError as error:
        raise BadInputError(str(error)) from error
    with closing(PipelineProgress()) as progress:
        with progress:
            conversion = convert(model, config, progress)
        report = write_report(conversion, config)
        progress.warnings(conversion)
        if as_json:
            click.echo(json.dumps(report, indent=2))
        else:
            progress.table(conversion)
            click.echo(f"report: {out / HTML_NAME}", err=True)
    failure = conversion.failure()
    if failure is not None:
        raise failure


def _dataset(folder: Path, part: str) -> Path:
    """`folder` itself, or its train or val folder where it has both."""
    train, val = split_folders(folder)
    if train is None or val is None:
        return folder
    return train if part == "train" else val


def _named_by(spec: ModelSpec) -> Path:
    """The val folder that the checkpoint's provenance names.

    Raises:
        BadInputError: If it names none, or one that is not there.
    """
    named = [dataset for dataset in spec.provenance.datasets if dataset.role == "val"]
    if not named:
        raise BadInputError("the gates need photos to judge by, and the checkpoint names none: give --eval DIR")
    if not Path(named[0].path).is_dir():
        raise BadInputError(f"the checkpoint's val folder {named[0].path} is not there any more: give --eval DIR")
    return Path(named[0].path)
