"""The board on the console: what it tells stands there, one that tells nothing does not, throttling is said plainly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Browser
from fake_boards import JETSON, RASPBERRY_PI, write_board
from page_checks import CONTRAST, shoot
from viewer_page import Page

BITS = ".commands/vcgencmd get_throttled"
HIDDEN = "document.querySelector('{}').checkVisibility() === false"
SHOWN = "document.querySelector('{}').checkVisibility()"
TEXT = "document.querySelector('{}').textContent"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board is read twenty times a second."""
    monkeypatch.setattr("edgex_runtime.health.PERIOD_S", 0.05)
    monkeypatch.setattr("edgex_runtime.console.server.HEALTH_PERIOD_S", 0.05)


def test_a_viewer_gets_the_readings_and_the_points_of_the_plot(
    open_console: Callable[..., Any], tmp_path: Path
) -> None:
    board = write_board(tmp_path / "board", JETSON)
    page = Page(open_console(board=board).connect())
    health = page.until(lambda update: update["health"])["health"]
    assert health["hottest"] == {"name": "cpu-thermal", "value": 63.625}
    assert [one["value"] for one in health["powers"]] == [9.28, 2.0]
    assert (health["slowed"], health["throttling"]) == ([], "none now")
    assert health["before"] == ["the supply's voltage or current slows the processor down"]
    assert health["clock"] == "1.1 of 1.5 GHz"
    write_board(board, {"sys/class/thermal/thermal_zone1/temp": "81000\n"})
    news = page.until(lambda update: update["health"] and update["health"]["hottest"]["value"] == 81)["health"]
    assert [point["celsius"] for point in news["points"]][-1] == 81
    assert news["points"][0]["number"] > health["points"][-1]["number"], "each reading is told once"


def test_nothing_is_told_of_a_board_that_tells_nothing(open_console: Callable[..., Any]) -> None:
    page = Page(open_console().connect())
    assert [page.update()["health"] for _ in range(3)] == [None] * 3


def test_the_panel_shows_a_boards_readings(browser: Browser, open_console: Callable[..., Any], tmp_path: Path) -> None:
    console = open_console(board=write_board(tmp_path / "board", JETSON))
    browser.open(console.url, 1280)
    browser.wait(SHOWN.format("#board"))
    assert browser.value(TEXT.format("#heat-plot b")) == "63.6 °C"
    readings = browser.value("document.querySelector('#readings').innerText").split("\n")
    assert readings[:4] == ["cpu-thermal", "63.6 °C", "gpu-thermal", "58.0 °C"]
    assert {"VDD_IN", "9.28 W", "clock limit", "1.1 of 1.5 GHz"} <= set(readings)
    assert browser.value(HIDDEN.format("#slowed"))
    assert "current slows the processor down" in browser.value(TEXT.format("#slowed-before"))
    browser.wait("document.querySelector('#heat-plot .line').getAttribute('d').split('L').length >= 3")
    label = browser.value("document.querySelector('#heat-plot svg').getAttribute('aria-label')")
    assert label.startswith("Temperature, last ten minutes: 63.6")
    assert browser.complaints() == []


def test_a_board_that_tells_nothing_is_not_on_the_page(browser: Browser, open_console: Callable[..., Any]) -> None:
    console = open_console()
    browser.open(console.url, 1280)
    console.show()
    browser.wait(f"{TEXT.format('#label')} === 'circle'")
    assert browser.value(HIDDEN.format("#board"))
    assert browser.value(HIDDEN.format("#slowed"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)], ids=["phone", "desk"])
def test_throttling_is_said_above_everything_and_taken_back(
    browser: Browser, open_console: Callable[..., Any], tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    board = write_board(tmp_path / "board", {**RASPBERRY_PI, BITS: "throttled=0x50005\n"})
    console = open_console(board=board)
    browser.open(console.url, width, scheme, height=height)
    console.show(np.full((360, 640, 3), (90, 140, 200), np.uint8))
    browser.wait(SHOWN.format("#slowed"))
    said = browser.value(TEXT.format("#slowed"))
    assert said.startswith("The board is slowed down: the supply's voltage is too low, the CPU is throttled.")
    assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert [pair for pair in browser.value(CONTRAST) if pair[1] < 4.5] == []
    shoot(browser, f"board-{'phone' if width < 600 else 'desk'}-{scheme}")
    write_board(board, {BITS: "throttled=0x50000\n"})
    browser.wait(HIDDEN.format("#slowed"))
    assert browser.value(TEXT.format("#slowed-before")).startswith("Before, since its start: the supply's voltage")
    assert browser.complaints() == []
