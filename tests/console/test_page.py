"""The console's page in a real browser: frames go in, labels come out, every control does what it says."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Browser
from page_checks import CONTRAST, SHOTS, shoot
from small_loop import SmallLoop

from edgex_runtime.control import Control, ModelChoice
from edgex_runtime.freshness import State
from edgex_runtime.model import Model
from edgex_runtime.sinks.registry import Surroundings, open_sink
from edgex_runtime.sinks.sink import Event
from edgex_runtime.sources.registry import open_source

TEXT = "document.querySelector('{}').textContent"
STATE = "document.querySelector('#stage').dataset.state"
HOSTILE = '<img src=x onerror="console.error(1)">'


def text(selector: str) -> str:
    return TEXT.format(selector)


def draw(index: int) -> np.ndarray:
    """A picture that looks like one: a soft sky over a meadow, and a sun that moves."""
    y, x = np.mgrid[0:360, 0:640].astype(np.float32)
    image = np.stack([90 + y / 4, 150 + y / 6, 230 - y / 5], axis=2)
    image[y > 240 + 14 * np.sin(x / 70)] = (84, 138, 70)
    image[(x - 120 - 9 * index) ** 2 + (y - 110) ** 2 < 46**2] = (255, 214, 90)
    return (image + np.random.default_rng(index).normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def page(browser: Browser, console: Any) -> Iterator[Browser]:
    """The console's page, open at a desk's size, with one frame on it; whatever its console says fails the test."""
    browser.open(console.url, 1280)
    console.show(draw(0), events=(Event(kind="appeared", label="circle"),))
    browser.wait(f"{text('#label')} === 'circle'")
    yield browser
    assert browser.complaints() == []
    browser.open("about:blank", 1280)


def test_loads_nothing_from_elsewhere(page: Browser, console: Any) -> None:
    asked = [told["request"]["url"] for told in page.told("Network.requestWillBeSent")]
    assert len(asked) >= 8
    assert [url for url in asked if not url.startswith(console.url)] == []
    assert page.value("document.querySelectorAll('script:not([src]), style, [onclick], [onload]').length") == 0


def test_what_the_run_says_stands_on_the_page(page: Browser, console: Any) -> None:
    assert page.value(text("#score")) == "90 %"
    assert page.value("[...document.querySelectorAll('#top5 .name')].map(one => one.textContent)") == [
        "circle",
        "square",
        "star",
    ]
    widths = "[...document.querySelectorAll('#top5 .track i')].map(one => parseFloat(one.style.width))"
    assert page.value(widths) == pytest.approx([90, 7, 3])
    assert page.value(STATE) == "LIVE"
    assert "ms" in page.value(text("#age"))
    assert page.value(text("#dropped")) == "3"
    assert page.value(text("#inference")) == "3.00 ms"
    assert page.value(text("#engine")) == "by fake 1 on cpu"
    assert "16 × 16 uint8 NHWC RGB" in page.value(text("#contract"))
    assert "top1 0.987 · 120 images" in page.value(text("#evidence"))
    assert "circle appeared" in page.value(text("#events"))
    pixel = "[...document.querySelector('#picture').getContext('2d').getImageData(120, 110, 1, 1).data]"
    assert np.abs(np.array(page.value(pixel)[:3]) - (255, 214, 90)).max() < 30, "the sun is where it was drawn"


def test_the_plots_run(page: Browser, console: Any) -> None:
    points = "document.querySelector('#{}-plot .line').getAttribute('d').split('L').length"
    for index in range(16):
        console.show(draw(index), age_ms=30.0 + index)
        time.sleep(0.1)
    page.wait(f"{points.format('age')} >= 3 && {points.format('rate')} >= 3")
    label = page.value("document.querySelector('#rate-plot svg').getAttribute('aria-label')")
    assert label.startswith("Rate, last minute: ")
    assert page.value(text("#rate-plot b")).endswith(" /s")


@pytest.mark.parametrize("state", [State.STALE, State.RECONNECTING, State.LOST])
def test_a_picture_that_is_not_live_does_not_look_live(page: Browser, console: Any, state: State) -> None:
    live = page.value("getComputedStyle(document.querySelector('#picture')).filter")
    assert live == "none"
    assert page.value("getComputedStyle(document.querySelector('.veil')).display") == "none"
    console.tell(state, age_ms=2500.0, error=None if state is State.STALE else "the cable was pulled")
    page.wait(f"{STATE} === '{state.value}'")
    assert "grayscale(1)" in page.value("getComputedStyle(document.querySelector('#picture')).filter")
    assert page.value("getComputedStyle(document.querySelector('.veil')).display") == "flex"
    assert page.value(text("#veil-state")).upper() == state.value
    why = page.value(text("#veil-why"))
    assert "this picture is 2." in why
    assert state is State.STALE or "the cable was pulled" in why
    assert page.value(text("#state")) == state.value
    shoot(page, f"state-{state.value.lower()}")
    console.show(draw(1))
    page.wait(f"{STATE} === 'LIVE'")


def test_pause_resume_and_end(page: Browser, console: Any) -> None:
    page.click("#pause")
    page.wait(f"{STATE} === 'PAUSED' && {text('#pause')} === 'Resume'")
    assert console.control.is_paused
    page.click("#pause")
    page.wait(f"{text('#pause')} === 'Pause'")
    assert not console.control.is_paused
    page.click("#stop")
    page.wait("document.querySelector('#sure').open")
    assert page.value("document.activeElement.value") == "no", "nothing ends by one press too many"
    page.click("#sure button[value=no]")
    page.wait("!document.querySelector('#sure').open")
    assert not console.control.is_stopped
    page.click("#stop")
    page.click("#sure button[value=yes]")
    end = time.monotonic() + 10
    while not console.control.is_stopped:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_end_of_the_run_is_told(page: Browser, console: Any) -> None:
    console.tell(State.LOST, error="the cable was pulled")
    console.sink.close()
    page.wait(f"{STATE} === 'ENDED'")
    assert page.value(text("#veil-why")) == "the cable was pulled"
    assert page.value("document.querySelector('#pause').disabled")
    # The page asks again now and then whether another run has begun, which the browser notes.
    refused = "net::ERR_CONNECTION_REFUSED"
    page.events = [event for event in page.events if refused not in str(event)]


def test_the_models_are_switched_by_keyboard(page: Browser, console: Any) -> None:
    assert page.value("[...document.querySelector('#models').options].map(one => one.value)") == ["tiny", "other"]
    page.value("document.querySelector('#models').focus()")
    page.press("ArrowDown", 40)
    page.wait(f"{text('#title')} === 'other'")
    assert console.models.current == "other"
    assert page.value("document.querySelector('#models').value") == "other"


def test_frames_are_collected_into_folders(page: Browser, tmp_path: Path) -> None:
    page.value("document.querySelector('#class').value = 'my class'")
    page.click("#save button")
    page.wait(f"{text('#saved')}.includes('1 in my class')")
    page.wait("[...document.querySelectorAll('#quick button')].some(one => one.textContent === 'my class')")
    page.click("#quick button")
    page.wait(f"{text('#saved')}.includes('2 in my class')")
    page.value("document.querySelector('#class').value = '../x'")
    page.click("#save button")
    page.wait(f"{text('#saved')}.includes('want a name of 1 to 100 bytes')")
    assert page.value("document.querySelector('#saved').classList.contains('bad')")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["my class"]
    assert len(list((tmp_path / "photos" / "my class").glob("*.png"))) == 2


def test_what_comes_from_outside_is_text(browser: Browser, open_console: Callable[..., Any]) -> None:
    console = open_console(sources=(HOSTILE, "gate"))
    browser.open(console.url, 390)
    console.show(draw(0), source=HOSTILE, label=HOSTILE, events=(Event(kind="appeared", label=HOSTILE),))
    browser.wait(f"{text('#label')}.length > 0")
    assert browser.value(text("#label")) == HOSTILE
    assert HOSTILE in browser.value(text("#events"))
    assert browser.value(text("#sources button")) == HOSTILE
    assert browser.value("document.querySelectorAll('[onerror]').length") == 0
    assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert browser.complaints() == []


def test_sources_are_switched(browser: Browser, open_console: Callable[..., Any]) -> None:
    console = open_console(sources=("door", "gate"))
    browser.open(console.url, 1280)
    console.show(draw(0), source="door", label="star")
    console.show(draw(1), source="gate", label="square")
    console.tell(State.LOST, source="gate")
    browser.wait(f"{text('#label')} === 'star'")
    browser.wait("document.querySelectorAll('#sources button')[1].dataset.state === 'LOST'")
    assert browser.value("document.querySelectorAll('#sources button')[1].textContent") == "gate · LOST"
    browser.click("#sources button:nth-child(2)")
    browser.wait(f"{text('#label')} === 'square' && {STATE} === 'LOST'")
    assert browser.value("document.querySelectorAll('#sources button')[1].getAttribute('aria-pressed')") == "true"
    assert browser.complaints() == []


SLOW_UNPACKING = """
window.seen = [];
const real = window.createImageBitmap;
window.createImageBitmap = async (...all) => {
  await new Promise((go) => setTimeout(go, 400));
  return real(...all);
};
const gate = document.querySelectorAll("#sources button")[1];
new MutationObserver(() => window.seen.push(gate.dataset.state)).observe(gate, {attributeFilter: ["data-state"]});
0
"""


def test_what_came_later_is_not_overtaken_by_a_picture_that_is_still_unpacked(
    browser: Browser, open_console: Callable[..., Any]
) -> None:
    console = open_console(sources=("door", "gate"))
    browser.open(console.url, 1280)
    browser.wait("document.querySelectorAll('#sources button')[1]?.dataset.state === 'WAITING'")
    browser.value(SLOW_UNPACKING)
    console.show(draw(1), source="door")
    time.sleep(0.1)
    console.tell(State.LOST, source="gate")
    browser.wait("window.seen.includes('LOST')")
    time.sleep(0.6)
    assert set(browser.value("window.seen.slice(window.seen.indexOf('LOST'))")) == {"LOST"}


def test_an_unsure_answer_is_told_as_one(page: Browser, console: Any) -> None:
    console.show(draw(2), known=False, score=0.3)
    page.wait(f"{text('#label')} === 'unknown (circle?)'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)], ids=["phone", "desk"])
def test_everything_fits_and_can_be_reached(page: Browser, console: Any, width: int, height: int, scheme: str) -> None:
    page.open(console.url, width, scheme, height=height)
    for index in range(8):
        console.show(draw(index), age_ms=20.0 + 3 * index)
        time.sleep(0.2 if SHOTS else 0.02)
    page.wait(f"{text('#label')} === 'circle'")
    assert page.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    beyond = "[...document.querySelectorAll('body *:not(svg *)')].filter(one => one.offsetWidth && !one.closest('nav')"
    beyond += f" && one.getBoundingClientRect().right > {width} + 1).map(one => one.id || one.tagName)"
    assert page.value(beyond) == []
    nameless = "[...document.querySelectorAll('button, input, select')].filter(one => one.checkVisibility() "
    nameless += "&& !one.textContent.trim() && !one.labels?.length && !one.ariaLabel).length"
    assert page.value(nameless) == 0
    if width < 600:
        small = "[...document.querySelectorAll('button, input, select')].filter(one => one.checkVisibility() "
        assert page.value(small + "&& one.getBoundingClientRect().height < 40).map(one => one.textContent)") == []
    contrast = page.value(CONTRAST)
    assert [pair for pair in contrast if pair[1] < 4.5] == []
    shoot(page, f"{'phone' if width < 600 else 'desk'}-{scheme}")


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(page: Browser) -> None:
    reached = []
    page.value("document.activeElement.blur()")
    for _ in range(24):
        page.press("Tab", 9)
        focus = page.value("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 20)")
        outlined = page.value("getComputedStyle(document.activeElement).outlineStyle")
        assert outlined != "none" or page.value("document.activeElement === document.body"), focus
        reached.append(focus)
    assert {"pause", "stop", "class", "Save frame", "circle", "models", "events"} <= set(reached)


def test_motion_is_reduced_where_that_is_asked_for(page: Browser, console: Any) -> None:
    animated = "document.getAnimations().length"
    assert page.value(animated) > 0
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    page.wait(f"{animated} === 0")


def test_the_token_is_asked_for(browser: Browser, open_console: Callable[..., Any]) -> None:
    console = open_console("?token=sesame-open-1234567", address="http://0.0.0.0:0")
    browser.open(console.url, 390)
    assert browser.value(text("h1")).strip() == "edgex console"
    shoot(browser, "login")
    browser.value("document.querySelector('#token').value = 'sesame-open-1234567'")
    browser.click("button")
    browser.wait("document.querySelector('#stage')?.dataset.state === 'WAITING'")
    assert browser.value("location.search") == "", "the token does not stay in the address"
    assert browser.value("document.cookie") == "", "nor within reach of scripts"


@pytest.fixture
def webcam_run(
    bare_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[SmallLoop, str]]:
    """A whole run on the camera of whoever opens its page."""
    monkeypatch.setattr("edgex_runtime.sources.mailbox._mailboxes", {})
    source, control, said = open_source("browser://"), Control(), io.StringIO()
    model = Model(bare_model(tmp_path / "webcam.safetensors", "webcam"), engine="fake")
    models = ModelChoice({"webcam": model})
    around = Surroundings(source=source.info, control=control, models=models, stderr=said)
    sink = open_sink("http://127.0.0.1:0", around)
    with SmallLoop(source, models, control, sink) as loop:
        yield loop, said.getvalue().split()[-1]
    model.close()


def test_frames_go_in_and_labels_come_out(browser: Browser, webcam_run: tuple[SmallLoop, str]) -> None:
    loop, url = webcam_run
    browser.open(url, 1280)
    browser.wait(f"{STATE} === 'WAITING'")
    assert browser.value(text("#veil-why")) == "no browser sends its camera: use the button below"
    browser.click("#camera")
    browser.wait(f"{STATE} === 'LIVE'")
    assert browser.value(text("#camera")) == "Stop this camera"
    # What the two halves of the webcam's film are to this model.
    model = loop.models.models["webcam"]
    red, blue = (
        model.classify([model.prepare(np.full((9, 9, 3), color, np.uint8))])[0].label
        for color in ((255, 20, 20), (20, 60, 255))
    )
    assert red != blue
    for label in (red, blue, red):
        browser.wait(f"{text('#label')} === '{label}'")
    shoot(browser, "webcam")
    ages = [result.age_ms for result in loop.results if result.index is not None]
    assert len(ages) > 20
    assert 0 < np.median(ages) < 5000, "of the moment that the camera took it, by our clock"
    indices = [result.index for result in loop.results if result.index is not None]
    assert indices == sorted(set(indices))
    browser.click("#camera")
    browser.wait(f"{STATE} === 'STALE' && {text('#camera')} === 'Use this camera'")
    assert "no browser sends its camera" in browser.value(text("#veil-why"))
    assert browser.complaints() == []
