"""report.html in a real browser: it says everything, loads nothing, and fits on a phone."""

import html
import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import Browser

from edgex_converters.report.axis import Axis
from edgex_converters.report.curve import curve
from edgex_converters.report.html import templates, write_html
from edgex_converters.report.json import report_of
from edgex_converters.report.scatter import place_labels, scatter

HOSTILE = '<img src="http://127.0.0.1:9/x.png" onerror="console.error(1)">\'"&{{ 7 * 7 }}'
SECTIONS = ["pipeline", "artifacts", "tradeoff", "layers", "making", "photos", "confusion", "calibration", "provenance"]


@pytest.fixture(scope="module")
def report(made) -> dict[str, Any]:
    """Of a conversion in which int8 errs now and then, so that there is something to show."""
    outcomes = []
    for outcome in made.conversion.outcomes:
        logits = outcome.logits.copy()
        if outcome.target.precision == "int8":
            logits[::7] = -logits[::7]
        outcomes.append(replace(outcome, logits=logits))
    return report_of(replace(made.conversion, outcomes=tuple(outcomes)), made.config)


@pytest.fixture(scope="module")
def page(report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(report, path)
    return path


def hostile(report: dict[str, Any]) -> dict[str, Any]:
    """The same, with a label, a name, a command and messages that are markup; one artifact failed, one broke."""
    copy: dict[str, Any] = json.loads(json.dumps(report).replace('"red"', json.dumps(HOSTILE)))
    copy |= {"name": HOSTILE, "command": HOSTILE, "warnings": [HOSTILE, "x" * 300]}
    failed, broken = copy["artifacts"][:2]
    failed |= {"status": "failed", "why": HOSTILE}
    broken |= {"status": "broken", "why": HOSTILE, "metrics": None, "ms": None}
    for entry, artifact in zip(copy["pipeline"], (failed, broken), strict=False):
        entry |= {"status": artifact["status"]}
    for artifact in copy["artifacts"]:
        if artifact["layers"]:
            artifact["layers"]["layers"][0]["name"] = HOSTILE
    return copy


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_loads_nothing_says_nothing_and_fits(
    browser: Browser, page: Path, report, tmp_path: Path, kind: str, width: int, scheme: str
) -> None:
    if kind == "hostile":
        page = tmp_path / "hostile.html"
        write_html(hostile(report), page)
    browser.open(page, width, scheme)
    assert browser.told("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown") == []
    asked = [told["request"]["url"] for told in browser.told("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert browser.value("innerWidth") == width
    assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert browser.value("document.images.length && [...document.images].every(image => image.naturalWidth > 0)")
    # What the page cuts to its own edge would not scroll the document, and would not be read either.
    beyond = "[...document.querySelectorAll('main :is(p, h2, dd, figure, text), header *')]"
    beyond += f".filter(one => one.getBoundingClientRect().right > {width} + 1).map(one => one.textContent)"
    assert browser.value(beyond) == []


def test_every_part_is_there_and_shown(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    assert browser.value("[...document.querySelectorAll('main > section')].map(part => part.id)") == SECTIONS
    hidden = "[...document.querySelectorAll('section')].filter(part => part.offsetHeight < 60).map(part => part.id)"
    assert browser.value(hidden) == []
    targets = "[...document.querySelectorAll('nav a')].map(link => !!document.querySelector(link.hash))"
    assert browser.value(targets) == [True] * len(SECTIONS)


def test_the_pipeline_is_drawn_once_for_each_width(browser: Browser, page: Path, report) -> None:
    for width, shown in ((1280, "wide"), (390, "tall")):
        browser.open(page, width)
        drawings = "[...document.querySelectorAll('#pipeline svg')].filter(one => one.getBoundingClientRect().width)"
        assert browser.value(f"{drawings}.map(one => one.classList[0])") == [shown]
        texts = browser.value(f"[...{drawings}[0].querySelectorAll('text')].map(one => one.textContent).join('\\n')")
        for entry in report["pipeline"]:
            assert entry["stage"] in texts
            assert f"{entry['to']}\n" in texts
        assert texts.count("✓ passed") == 9
        assert browser.value(f"{drawings}[0].querySelectorAll('text')[2].getBoundingClientRect().height") > 10, (
            "legible"
        )


def overlapping(boxes: list[list[float]]) -> list[tuple[list[float], list[float]]]:
    """Pairs of left, top, right, bottom that share an area."""
    return [
        (a, b)
        for a, b in itertools.combinations(boxes, 2)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]


@pytest.mark.parametrize("cached", [(), ("verify",), ("stage",), ("verify", "stage")], ids="+".join)
def test_the_pipelines_words_have_room(browser: Browser, report, tmp_path: Path, cached: tuple[str, ...]) -> None:
    slow = json.loads(json.dumps(report))
    for entry in slow["pipeline"]:
        for step in entry["steps"]:
            step |= {"seconds": 599.0, "cached": (step["name"] if step["name"] == "verify" else "stage") in cached}
        entry["status"] = "broken"
    write_html(slow, tmp_path / "slow.html")
    texts = (
        "[...document.querySelectorAll('#pipeline svg')].filter(one => one.getBoundingClientRect().width)"
        ".flatMap(one => [...one.querySelectorAll('text')]).map(one => one.getBoundingClientRect())"
        ".map(box => [box.left, box.top + 2, box.right, box.bottom - 2])"
    )
    for width in (390, 1280):
        browser.open(tmp_path / "slow.html", width)
        boxes = browser.value(texts)
        assert len(boxes) == 2 + 9 * (5 if width == 1280 else 3 if len(cached) == 2 else 4)
        assert overlapping(boxes) == []


def test_the_plots_names_do_not_lie_on_each_other(browser: Browser, page: Path) -> None:
    boxes = (
        "[...document.querySelectorAll('#tradeoff svg')].filter(one => one.getBoundingClientRect().width)"
        ".flatMap(one => [...one.querySelectorAll('.halo')]).map(one => one.getBoundingClientRect())"
        ".map(box => [box.left, box.top + 2, box.right, box.bottom - 2])"
    )
    for width in (390, 1280):
        browser.open(page, width)
        found = browser.value(boxes)
        assert len(found) == 9
        assert overlapping(found) == []


def test_works_without_scripts_and_with_a_keyboard(browser: Browser, page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"<script|javascript:|\son\w+=", text)
    browser.open(page, 390)
    nameless = "img:not([alt]), svg:not([aria-label]), [tabindex]:not([aria-label], [aria-labelledby])"
    assert browser.value(f"document.querySelectorAll('{nameless}').length") == 0
    # Whatever scrolls sideways must take the focus, or the arrow keys cannot move it.
    unreachable = "[...document.querySelectorAll('main *')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    unreachable += ".filter(one => getComputedStyle(one).overflowX === 'auto' && one.tabIndex < 0).length"
    assert browser.value(unreachable) == 0


def test_what_comes_from_outside_is_text(browser: Browser, report, tmp_path: Path) -> None:
    page = tmp_path / "hostile.html"
    write_html(hostile(report), page)
    browser.open(page, 1280)
    assert browser.value("document.querySelector('h1').textContent") == HOSTILE
    assert browser.value("document.querySelectorAll('img[onerror], [onerror]').length") == 0
    assert browser.value("document.querySelector('.notes').textContent").count(HOSTILE) == 2
    assert html.escape("onerror=") in page.read_text()


def test_disagreements_name_the_truth_and_every_answer(browser: Browser, page: Path, report) -> None:
    browser.open(page, 1280)
    said = browser.value("[...document.querySelectorAll('.photos > li')].map(one => one.textContent)")
    assert len(said) == 24, "of 35, the most that are shown"
    first = report["artifacts"][2]["disagreements"][0]
    assert f"onnx int8{first['artifact']} ✗" in re.sub(r"\s+(?=\S)", " ", said[0])
    assert page.stat().st_size < 1_000_000


def test_confusion_tells_what_changed(browser: Browser, page: Path, report) -> None:
    browser.open(page, 1280)
    tables = "[...document.querySelectorAll('.matrix')]"
    titles = browser.value(f"{tables}.map(one => one.caption.firstChild.textContent.trim())")
    assert titles == ["the network, fp32", "onnx int8", "openvino int8", "tflite int8"]
    sums = browser.value(
        f"{tables}.map(one => [...one.querySelectorAll('td')].map(cell => parseInt(cell.firstChild?.data) || 0)"
        ".reduce((a, b) => a + b))"
    )
    assert sums == [240] * 4
    changes = browser.value(f"{tables}.map(one => one.querySelectorAll('.changed').length > 0)")
    assert changes == [False, True, True, True]


def test_many_classes_are_told_as_a_list(report, tmp_path: Path) -> None:
    many = json.loads(json.dumps(report))
    many["labels"] += [f"class {index}" for index in range(30)]
    write_html(many, tmp_path / "many.html")
    page = (tmp_path / "many.html").read_text()
    assert "34 classes are too many for a matrix" in page
    assert page.count('<table class="changes">') == 3


def test_calibration_and_provenance_are_told(browser: Browser, page: Path, report) -> None:
    browser.open(page, 1280)
    calibration = browser.value("document.querySelector('#calibration').textContent")
    assert report["calibration"]["fingerprint"] in calibration
    assert sum(report["calibration"]["classes"].values()) == report["calibration"]["count"] == 32
    provenance = browser.value("document.querySelector('#provenance').textContent")
    for fact in (report["date"], report["machine"]["cpu"], report["tools"]["onnxruntime"], report["command"]):
        assert fact in provenance


def test_a_pipeline_tells_what_only_another_artifact_needed(made, tmp_path: Path) -> None:
    kept = tuple(one for one in made.conversion.outcomes if str(one.target) == "openvino int8")
    between = tuple(one for one in made.conversion.outcomes if str(one.target) in ("onnx fp32", "openvino fp32"))
    report = report_of(replace(made.conversion, outcomes=kept, intermediates=between), made.config)
    assert [(entry["to"], entry["asked"]) for entry in report["pipeline"]] == [
        ("onnx fp32", False),
        ("openvino fp32", False),
        ("openvino int8", True),
    ]
    write_html(report, tmp_path / "report.html")
    assert "made only because another artifact starts from it" in (tmp_path / "report.html").read_text()


def test_names_find_room_where_every_dot_is_at_one_place() -> None:
    labels = place_labels([(200.0, 100.0, 8.0)] * 6, ["openvino fp32"] * 6, 358, 296, (52, 99, 358, 101))
    boxes = [[label.x, label.y - 11, label.x + label.width, label.y + 4] for label in labels]
    assert all(box[0] >= 52 and box[2] <= 358 for box in boxes)
    assert overlapping(boxes) == []


def test_nothing_measured_is_nothing_plotted(report) -> None:
    nothing = report | {"artifacts": [artifact | {"ms": None} for artifact in report["artifacts"]]}
    assert scatter(nothing, 358, 340).dots == ()


@pytest.mark.parametrize(
    ("low", "high", "log"), [(0.9, 0.92, False), (0.0, 1e4, False), (0.6, 1.3, True), (3e-3, 9e3, True)]
)
def test_axes_have_two_to_five_round_ticks(low: float, high: float, log: bool) -> None:
    axis = Axis(low=low, high=high, start=0, end=100, log=log)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 5
    assert all(-1e-9 <= axis.at(tick) <= 100 + 1e-9 for tick in ticks)


def test_a_curve_stands_in_its_plot_also_where_nothing_changes() -> None:
    for values in ([1.0, 1.0], [0.0], [5.0, -3.0, 4.0]):
        drawn = curve("size", [str(index) for index in range(len(values))], values, str)
        assert [point.text for point in drawn.points] == list(map(str, values))
        assert all(0 < point.x < drawn.width and 0 < point.y < drawn.baseline for point in drawn.points)


def test_a_curve_of_many_steps_leaves_out_what_would_lie_on_each_other() -> None:
    drawn = curve(
        "time", [f"+ block{index}_sepconv1_pointwise" for index in range(20)], list(range(20)), "{} ms".format
    )
    told = [point for point in drawn.points if point.text]
    assert told[-1] is drawn.points[-1]
    assert all(b.x - a.x >= 54 for a, b in itertools.pairwise(told))
    assert all(a.step_y != b.step_y for a, b in itertools.pairwise(told))
    assert "+ block7_sepconv1_pointwise 7 ms" in drawn.words


def test_a_curve_is_drawn_with_its_values_and_its_words() -> None:
    drawn = curve("size <MB>", ["int8", "+ block2 & head"], [0.9, 1.1], lambda value: f"{value} MB")
    drawing = ElementTree.fromstring(templates().get_template("curve.svg.j2").module.curve(drawn))
    assert drawing.get("aria-label") == drawn.words
    texts = [text.text for text in drawing.iter("text")]
    assert texts == ["size <MB>", "0.9 MB", "int8", "1.1 MB", "+ block2 & head"]
    assert len(drawing.find("polyline").get("points", "").split()) == 2
