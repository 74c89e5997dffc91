"""Where a blame is told: in a failed gate's words, in both reports, and on the command line."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgex.cli.main import edgex
from edgex_converters.config import GateConfig
from edgex_converters.pipeline import convert
from edgex_converters.report.html import write_html
from edgex_converters.report.json import report_of, write_json
from edgex_runtime.errors import BadInputError
from edgex_runtime.metadata.registry import read_spec


class Watcher:
    def begin(self, step: str) -> None: ...
    def advance(self, done: int, total: int) -> None: ...
    def finish(self, outcome: object) -> None: ...


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(edgex, list(map(str, arguments)), standalone_mode=False)


@pytest.fixture(scope="module")
def failed(made, tmp_path_factory: pytest.TempPathFactory):
    """A conversion whose int8 file misses its gate."""
    # 240 photos cannot decide a gate of 99.9 %, whatever they say.
    config = replace(
        made.config,
        out=tmp_path_factory.mktemp("failed"),
        formats=("onnx",),
        precisions=("int8",),
        gates=GateConfig(int8_accuracy=0.999),
    )
    return config, convert(made.source, config, Watcher())


def test_a_failed_gate_names_the_worst_layers(failed) -> None:
    config, conversion = failed
    (outcome,) = conversion.outcomes
    assert outcome.status == "failed"
    worst = outcome.blame.layers[0]
    assert f"most of the error comes from {worst.name} ({worst.share:.0%}".replace("%", " %") in outcome.why
    spec = read_spec(config.out / "rejected" / "colours-int8.onnx")
    assert spec is not None
    assert worst.name in spec.evidence[-1].why
    assert worst.name in str(conversion.failure())


def test_the_report_holds_the_layers_of_every_int8_artifact(made, tmp_path: Path) -> None:
    report = report_of(made.conversion, made.config)
    write_json(report, tmp_path / "report.json")
    for artifact in json.loads((tmp_path / "report.json").read_text())["artifacts"]:
        if artifact["precision"] != "int8":
            assert artifact["layers"] is None
            continue
        layers = artifact["layers"]["layers"]
        assert sum(layer["share"] for layer in layers) == pytest.approx(1.0)
        assert {"block5_sepconv2_pointwise", "block5_add", "head_predictions"} < {layer["name"] for layer in layers}
        assert artifact["layers"]["unexplained"] < 0.1


def test_the_page_draws_the_twenty_worst_layers(made, tmp_path: Path) -> None:
    report = report_of(made.conversion, made.config)
    write_html(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for artifact in report["artifacts"]:
        if artifact["precision"] != "int8":
            continue
        start = page.index(f'aria-label="Share of the logit error that each layer of {artifact["format"]}')
        start, end = page.rindex("<svg", 0, start), page.index("</svg>", start) + len("</svg>")
        drawing = ElementTree.fromstring(page[start:end])
        named = [text.text for text in drawing.iter("text") if text.get("class") == "name"]
        shares = [layer["name"] for layer in artifact["layers"]["layers"] if layer["share"]][:20]
        assert named == shares
        lengths = [float(bar.get("width", "nan")) for bar in drawing.iter("rect")]
        assert lengths == sorted(lengths, reverse=True)
        assert lengths[0] > 0


@pytest.mark.parametrize("suffix", ["onnx", "xml", "tflite"])
def test_inspect_prints_the_worst_first(made, suffix: str) -> None:
    model, against = made.out / f"colours-int8.{suffix}", made.out / f"colours-fp32.{suffix}"
    options = ("inspect", model, "--layers", "--against", against, "--images", made.photos / "val")
    result = run(*options, "--json")
    layers = json.loads(result.stdout)["layers"]
    assert [layer["share"] for layer in layers] == sorted((layer["share"] for layer in layers), reverse=True)
    table = run(*options).stdout
    assert 0 < table.index(layers[0]["name"]) < table.index(layers[1]["name"])
    assert layers[-1]["name"] not in table
    assert layers[-1]["name"] in run(*options, "--all-layers").stdout


def test_inspect_takes_the_checkpoint_for_reference(made) -> None:
    result = run(
        "inspect",
        *(made.out / "colours-fp32.onnx", "--layers", "--against", made.checkpoint),
        *("--images", made.photos, "--json"),
    )
    assert json.loads(result.stdout)["logits_sqnr_db"] > 80


@pytest.mark.parametrize("missing", ["--against", "--images"])
def test_inspect_asks_for_what_is_missing(made, missing: str) -> None:
    given = {"--against": made.out / "colours-fp32.onnx", "--images": made.photos / "val"}
    options = [word for name, value in given.items() if name != missing for word in (name, value)]
    result = run("inspect", made.out / "colours-int8.onnx", "--layers", *options)
    assert isinstance(result.exception, BadInputError)
    assert missing in str(result.exception)
