"""`edgex inspect MODEL`: the contract, where the model comes from, what was measured of it, and its self-test."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from edgex_runtime.engines.engine import Device
    from edgex_runtime.inspection import Inspection
    from edgex_runtime.spec import Evidence, ModelSpec, Provenance

_LABELS_SHOWN = 20
_VERDICT_COLORS = {"passed": "green", "failed": "red", "not run": "yellow"}


@click.command(name="inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--engine", help="Engine to run the self-test on; by default the one that the file's suffix is for.")
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu", "npu"]), default="auto", show_default=True)
@click.option("--spec", type=click.Path(path_type=Path), help="spec.toml, for a model that carries no contract.")
@click.option("--layers", is_flag=True, help="Say which layers its error against fp32 comes from, instead.")
@click.option("--against", type=click.Path(path_type=Path), help="With --layers: its fp32 twin, or the checkpoint.")
@click.option("--images", type=click.Path(path_type=Path), help="With --layers: photos, one folder a class.")
@click.option("--all-layers", is_flag=True, help="With --layers: print all, not the worst.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    model: Path,
    engine: str | None,
    device: "Device",
    spec: Path | None,
    layers: bool,
    against: Path | None,
    images: Path | None,
    all_layers: bool,
    as_json: bool,
) -> None:
    """Print MODEL's contract and its evidence, and run its self-test."""
    if layers:
        from edgex.cli.layers import show

        show(model, against, images, everything=all_layers, as_json=as_json)
        return
    from edgex.cli.console import answers
    from edgex_runtime.engines.engine import EngineOptions
    from edgex_runtime.errors import ContractMismatchError
    from edgex_runtime.inspection import inspect_model
    from edgex_runtime.schema import to_plain

    inspection = inspect_model(model, EngineOptions(device=device), engine=engine, spec=spec)
    if as_json:
        click.echo(json.dumps(to_plain(inspection), ensure_ascii=False, indent=2))
    else:
        _print(answers(), inspection)
    if inspection.verdict == "failed":
        raise ContractMismatchError(inspection.why, field=inspection.field)


def _print(console: "Console", inspection: "Inspection") -> None:
    spec = inspection.spec
    console.print(_facts("Model", _model_rows(inspection)))
    console.print(_facts("Contract", _contract_rows(spec)))
    console.print(_facts("Provenance", _provenance_rows(spec.provenance)))
    if spec.evidence:
        console.print(_evidence(spec.evidence))
    color = _VERDICT_COLORS[inspection.verdict]
    by = (
        f" on {inspection.engine.name} {inspection.engine.version} ({inspection.engine.device})"
        if inspection.engine
        else ""
    )
    console.print(f"self-test{by}: [{color}]{inspection.verdict}[/{color}] ", end="")
    # Why it failed is the error that the command ends with.
    console.print(inspection.why if inspection.verdict == "not run" else "", markup=False, soft_wrap=True)


def _facts(title: str, rows: "list[tuple[str, str]]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(f"[bold]{name}[/bold]", escape(value))
    return table


def _model_rows(inspection: "Inspection") -> "list[tuple[str, str]]":
    return [
        ("files", ", ".join(inspection.files)),
        ("size", f"{inspection.size_bytes / 1e6:.1f} MB"),
        ("sha256", inspection.sha256),
    ]


def _contract_rows(spec: "ModelSpec") -> "list[tuple[str, str]]":
    image, shown = spec.input, ", ".join(spec.labels[:_LABELS_SHOWN])
    more = ", …" if len(spec.labels) > _LABELS_SHOWN else ""
    rows = [
        ("name", spec.name),
        ("labels", f"{len(spec.labels)}: {shown}{more}"),
        ("input", f"{image.dtype} {image.layout} {image.color}, {image.height} × {image.width}"),
        ("resize", _resize(spec)),
        ("output", spec.output + (f", temperature {spec.temperature:g}" if spec.output == "logits" else "")),
        ("precision", spec.precision + (f"; in float: {', '.join(spec.float_ops)}" if spec.float_ops else "")),
    ]
    if spec.normalise is not None:
        where = "inside the graph" if image.dtype == "uint8" else "done by the runtime"
        rows.append(("normalise", f"(pixel − {spec.normalise.mean}) / {spec.normalise.std}, {where}"))
    if spec.network is not None:
        config = ", ".join(f"{key}={value}" for key, value in spec.network.config.items())
        rows.append(("network", f"{spec.network.family}({config})"))
    if spec.golden is not None:
        rows.append(("golden", f"{len(spec.golden.samples)} samples, tolerance {spec.golden.tolerance:.3g}"))
    return rows


def _resize(spec: "ModelSpec") -> str:
    details = {
        "crop": f", {spec.resize.crop_fraction:g} of the picture's centre",
        "letterbox": f", padded with {spec.resize.fill}",
        "stretch": "",
    }
    return f"{spec.resize.mode}{details[spec.resize.mode]}, filter {spec.resize.filter}"


def _provenance_rows(provenance: "Provenance") -> "list[tuple[str, str]]":
    rows = [
        ("made on", provenance.date),
        ("by", provenance.command),
        ("from", provenance.source_sha256),
        ("with", ", ".join(f"{name} {version}" for name, version in provenance.tools.items())),
        *(
            (ref.role, f"{ref.count} photos, {ref.path}, fingerprint {ref.fingerprint[:12]}…")
            for ref in provenance.datasets
        ),
    ]
    return [(name, value) for name, value in rows if value] or [("", "nothing is recorded")]


def _evidence(evidence: "tuple[Evidence, ...]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table("stage", "measured", "images", "gate", "verdict", title="Evidence", title_justify="left")
    for item in evidence:
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in item.metrics.items())
        verdict = "[green]passed[/green]" if item.passed else f"[red]failed[/red] {escape(item.why)}"
        table.add_row(escape(item.stage), escape(metrics), str(item.images), escape(item.gate), verdict)
    return table
