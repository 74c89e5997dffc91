"""`edgex eval MODEL --data DIR`: top-1, top-5, every class and every mix-up, for any model file."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from edgex_runtime.dataset import Dataset
    from edgex_runtime.engines.engine import Device, EngineInfo
    from edgex_runtime.evaluate import Answers, Evaluation, Share
    from edgex_runtime.model import Model
    from edgex_runtime.temperature import Calibration

# Wider than this no terminal shows a confusion matrix; the commonest mix-ups are listed instead.
_WIDEST_MATRIX = 16
_MIXUPS_SHOWN = 20


@click.command(name="eval")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Photos, one folder a class.")
@click.option("--engine", help="Engine to run; by default the one that the file's suffix is for.")
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu", "npu"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the engine.")
@click.option("--spec", type=click.Path(path_type=Path), help="spec.toml, for a model that carries no contract.")
@click.option("--limit", type=click.IntRange(min=1), help="Take this many photos, each class in its share.")
@click.option(
    "--calibrate", is_flag=True, help="Fit the temperature to these photos, and write it into MODEL's contract."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    model: Path,
    data: Path,
    engine: str | None,
    device: "Device",
    threads: int | None,
    spec: Path | None,
    limit: int | None,
    calibrate: bool,
    as_json: bool,
) -> None:
    """Measure MODEL on a folder of photos.

    With --calibrate its scores become as sure as it is right: a score of 80 % is then right four times of five.
    """
    from edgex_runtime import temperature
    from edgex_runtime.evaluate import measure_answers
    from edgex_runtime.model import Model

    dataset = _dataset(data, limit)
    target = temperature.aim(model, dataset) if calibrate else None
    with Model(model, engine=engine, device=device, threads=threads, spec=spec) as opened:
        answers = _answers(opened, dataset)
        info, labels = opened.info, opened.spec.labels
    evaluation = measure_answers(answers, labels)
    if not as_json:
        _print(info, dataset, evaluation, labels)
    calibration = None
    if target is not None:
        calibration = temperature.calibrate(answers.logits, answers.truth, before=target.spec.temperature)
        temperature.store(target, calibration)
        # As whoever uses it will: the changed file has to be admitted, and to do what its golden samples say.
        Model(model, engine=engine, device=device, threads=threads).close()
    if as_json:
        click.echo(_to_json(model, info, dataset, evaluation, calibration))
    elif calibration is not None:
        click.echo(_describe(model, calibration))


def _dataset(data: Path, limit: int | None) -> "Dataset":
    import numpy as np

    from edgex_runtime.dataset import scan, split_folders, stratified

    _, val = split_folders(data)
    if val is not None:
        click.echo(f"{data} has a folder {val.name}/: measuring on that", err=True)
    dataset = scan(val or data)
    if limit is None or limit >= len(dataset):
        return dataset
    # The same photos every time, so that two models are measured on the same ones.
    return stratified(dataset, limit, np.random.default_rng(0))


def _describe(path: Path, calibration: "Calibration") -> str:
    return (
        f"temperature {calibration.before:.3f} → {calibration.temperature:.3f} (95 % interval {calibration.low:.3f} to "
        f"{calibration.high:.3f}), fitted to {calibration.images} photos and written into {path}\n"
        f"NLL {calibration.nll_before:.4f} → {calibration.nll_after:.4f}, "
        f"ECE {calibration.ece_before:.1%} → {calibration.ece_after:.1%}, on the same photos"
    )


def _answers(model: "Model", dataset: "Dataset") -> "Answers":
    from rich.console import Console
    from rich.progress import Progress

    from edgex_runtime.evaluate import answer

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("photos", total=len(dataset))
        return answer(model, dataset, lambda done: progress.update(task, completed=done))


def _to_json(
    path: Path,
    engine: "EngineInfo",
    dataset: "Dataset",
    evaluation: "Evaluation",
    calibration: "Calibration | None",
) -> str:
    from edgex_runtime.schema import to_plain

    return json.dumps(
        {
            "model": str(path),
            "engine": to_plain(engine),
            "data": {"path": str(dataset.root), "photos": len(dataset), "fingerprint": dataset.fingerprint()},
            **to_plain(evaluation),
            **({} if calibration is None else {"calibration": to_plain(calibration)}),
        },
        ensure_ascii=False,
        indent=2,
    )


def _print(engine: "EngineInfo", dataset: "Dataset", evaluation: "Evaluation", labels: tuple[str, ...]) -> None:
    from edgex.cli.console import answers

    console = answers()
    console.print(f"{evaluation.images} photos of {dataset.root} on {engine.name} {engine.version} ({engine.device})")
    console.print(f"top-1  [bold]{_percent(evaluation.top1)}[/bold]")
    if evaluation.top5 is not None:
        console.print(f"top-5  [bold]{_percent(evaluation.top5)}[/bold]")
    console.print(f"median of inference: {evaluation.inference_ms:.2f} ms a photo")
    console.print(_classes(evaluation))
    seen = {i for i, row in enumerate(evaluation.confusion) if any(row)} | {
        i for row in evaluation.confusion for i, count in enumerate(row) if count
    }
    console.print(
        _matrix(evaluation, labels, sorted(seen)) if len(seen) <= _WIDEST_MATRIX else _mixups(evaluation, labels)
    )
    for photo in evaluation.unreadable:
        click.echo(f"left out, unreadable: {photo.path}: {photo.why}", err=True)
    if evaluation.unreadable:
        click.echo(f"{len(evaluation.unreadable)} of {len(dataset)} photos could not be read", err=True)


def _percent(share: "Share") -> str:
    return f"{share.value:.1%}[/bold] (95 % interval {share.low:.1%} to {share.high:.1%})[bold]"


def _classes(evaluation: "Evaluation") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table("class", title="Classes", title_justify="left")
    for heading in ("photos", "precision", "recall"):
        table.add_column(heading, justify="right")
    for score in evaluation.classes:
        if score.support:
            table.add_row(escape(score.label), str(score.support), f"{score.precision:.1%}", f"{score.recall:.1%}")
    return table


def _matrix(evaluation: "Evaluation", labels: tuple[str, ...], seen: list[int]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table("is ↓   said →", title="Confusion matrix", title_justify="left")
    for i in seen:
        table.add_column(escape(labels[i]), justify="right")
    for i in seen:
        row = evaluation.confusion[i]
        cells = [f"[bold green]{row[j]}[/]" if i == j else (str(row[j]) if row[j] else "·") for j in seen]
        table.add_row(escape(labels[i]), *cells)
    return table


def _mixups(evaluation: "Evaluation", labels: tuple[str, ...]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table("is", "said", "photos", title="Commonest mix-ups", title_justify="left")
    wrong = [(n, i, j) for i, row in enumerate(evaluation.confusion) for j, n in enumerate(row) if n and i != j]
    for count, i, j in sorted(wrong, reverse=True)[:_MIXUPS_SHOWN]:
        table.add_row(escape(labels[i]), escape(labels[j]), str(count))
    return table
