"""What viewers get and what their buttons do, over real WebSockets."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_page import Page
from websockets.exceptions import ConnectionClosed

from edgex_runtime.console import studio
from edgex_runtime.freshness import State
from edgex_runtime.sinks.sink import Event

HANDSHAKE = (
    "GET /live HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
pytestmark = pytest.mark.usefixtures("no_thread_leaks")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def page(console: Any) -> Page:
    return Page(console.connect())


def test_a_viewer_is_told_of_models_and_classes(page: Page) -> None:
    tiny = page.hello["models"][0]
    assert [model["name"] for model in page.hello["models"]] == ["tiny", "other"]
    assert (tiny["engine"], tiny["device"], tiny["explains"]) == ("fake 1", "cpu", False)
    assert ["input", "16 × 16 uint8 NHWC RGB"] in tiny["contract"]
    assert tiny["evidence"][0]["passed"]
    assert tiny["evidence"][0]["measured"] == [["top1", "0.987"]]
    assert page.hello["classes"] == []


def test_a_result_arrives_with_its_picture(console: Any, page: Page) -> None:
    console.show(np.full((48, 64, 3), (200, 80, 160), np.uint8))
    update = page.until(lambda update: update["picture"])
    assert (update["picture"]["label"], update["picture"]["score"]) == ("circle", 0.9)
    assert [best["label"] for best in update["picture"]["top5"]] == ["circle", "square", "star"]
    status = update["statuses"][0]
    assert (status["name"], status["state"], status["dropped"], status["frames"]) == ("front door", "LIVE", 3, 1)
    assert np.abs(page.picture().astype(int) - (200, 80, 160)).max() < 8


def test_the_age_goes_on_while_nothing_comes(console: Any, page: Page) -> None:
    console.show()
    first = page.until(lambda update: update["picture"])["statuses"][0]
    assert first["age_ms"] >= 12
    later = page.until(lambda update: update["statuses"][0]["age_ms"] > 900)
    assert later["statuses"][0]["state"] == "LIVE", "a slow model is no fault"


def test_a_loop_that_is_silent_does_not_look_live(console: Any, page: Page) -> None:
    console.show()
    began = time.monotonic()
    status = page.until(lambda update: update["statuses"][0]["state"] == "STALE")["statuses"][0]
    assert time.monotonic() - began > 1.9
    assert status["why"] == "the model gives no results"
    assert status["age_ms"] > 1900


def test_states_and_events_are_told_in_order(console: Any, page: Page) -> None:
    console.show(events=(Event(kind="appeared", label="circle"),))
    console.tell(State.RECONNECTING, error="cable pulled", age_ms=900.0)
    update = page.until(lambda update: update["statuses"][0]["state"] == "RECONNECTING")
    assert update["statuses"][0]["why"] == "cable pulled"
    late = Page(console.connect()).update()
    assert [(one["kind"], one["text"]) for one in late["notices"]] == [
        ("appeared", "circle"),
        ("state", "RECONNECTING"),
        ("error", "cable pulled"),
    ]
    assert late["picture"]["label"] == "circle", "who comes later sees the last picture, and how old it is"
    assert late["statuses"][0]["age_ms"] >= 900


def test_no_password_of_a_camera_reaches_a_viewer(open_console: Callable[..., Any]) -> None:
    address = "rtsp://admin:hunter2@camera/1"
    console = open_console(sources=(address,))
    page = Page(console.connect())
    console.show(source=address)
    assert "hunter2" not in json.dumps(page.until(lambda update: update["picture"]))
    console.show(source=address, name=f"{address}#1")
    console.tell(State.LOST, source=address, error=f"{address}: no route to host")
    update = page.until(lambda update: update["statuses"][0]["state"] == "LOST")
    assert "hunter2" not in json.dumps(update)
    assert update["statuses"][0]["why"] == "rtsp://***@camera/1: no route to host"


def test_a_picture_is_encoded_once_and_only_while_someone_looks(console: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = studio.encode
    monkeypatch.setattr(studio, "encode", lambda image: encoded.append(int(image[0, 0, 0])) or encode(image))
    for _ in range(20):
        console.show()
    time.sleep(0.1)
    assert encoded == [], "nobody looks"
    pages = [Page(console.connect()) for _ in range(3)]
    pages[2].ask("watch", source="front door", picture=False)
    for page in pages[:2]:
        page.until(lambda update: update["picture"] and update["picture"]["name"] == "front door#19")
    assert encoded == [19]
    for _ in range(5):
        console.show()
        for page in pages[:2]:
            page.until(lambda update: update["picture"]["name"] == f"front door#{console.next_index - 1}")
    assert encoded == [19, 20, 21, 22, 23, 24]
    assert pages[2].update()["picture"] is None


def test_large_pictures_are_sent_smaller(console: Any, page: Page) -> None:
    console.show(np.zeros((1500, 2000, 3), np.uint8))
    update = page.until(lambda update: update["picture"])
    assert update["picture"]["size"] == [2000, 1500]
    assert page.picture().shape == (960, 1280, 3)


def test_a_slow_viewer_gets_fewer_and_holds_nobody_up(console: Any) -> None:
    slow, quick = console.connect(), Page(console.connect())
    for _ in range(30):
        console.show()
        quick.until(
            lambda update: update["picture"] and update["picture"]["name"].endswith(f"#{console.next_index - 1}")
        )
    began = time.monotonic()
    console.sink.close()
    assert time.monotonic() - began < 2
    got = []
    try:
        while True:
            got.append(slow.recv(timeout=5))
    except ConnectionClosed:
        pass
    assert len(got) == 3, "hello, and the two updates that it may owe an answer for"


def test_thirty_pictures_a_second_are_enough(console: Any, page: Page) -> None:
    end, numbers = time.monotonic() + 1, set()
    threading.Thread(target=lambda: [(console.show(), time.sleep(0.004)) for _ in range(200)], daemon=True).start()
    while time.monotonic() < end:
        picture = page.update()["picture"]
        numbers.add(picture and picture["number"])
    assert 8 <= len(numbers) <= 33


def test_a_viewer_that_reads_nothing_does_not_delay_the_end(console: Any) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            deaf = stack.enter_context(socket.create_connection(("127.0.0.1", console.port), timeout=5))
            deaf.sendall(HANDSHAKE.format(host=f"127.0.0.1:{console.port}").encode())
            assert deaf.recv(12) == b"HTTP/1.1 101"
        for _ in range(3):
            # More than the kernel's buffers take: the server is in the middle of a message when the end comes.
            console.show(np.random.default_rng(0).integers(0, 256, (1000, 1280, 3), dtype=np.uint8))
            time.sleep(0.1)
        began = time.monotonic()
        console.sink.close()
        assert time.monotonic() - began < 2


def test_viewers_that_come_and_go_leave_nothing_behind(console: Any) -> None:
    def visit(*, politely: bool) -> None:
        viewer = console.connect()
        viewer.recv(timeout=5)
        console.show()
        if not politely:
            viewer.socket.close()
        viewer.close()

    visit(politely=True)
    open_before = descriptors()
    for index in range(80):
        visit(politely=bool(index % 4))
    end = time.monotonic() + 5
    while descriptors() > open_before and time.monotonic() < end:
        time.sleep(0.02)
    assert descriptors() <= open_before
    assert Page(console.connect()).update()["statuses"][0]["frames"] == 81, "more came than may be there at once"


def test_the_end_is_told(console: Any, page: Page) -> None:
    console.tell(State.LOST, error="the cable was pulled")
    console.sink.close()
    got = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            got.append(page.socket.recv(timeout=5))
    assert b'"why": "the cable was pulled"' in got[-1], "what ended the run is told before its end"
    assert (page.socket.close_code, page.socket.close_reason) == (1001, "the run has ended")
    console.sink.close()


def test_the_buttons_reach_the_run(console: Any, page: Page) -> None:
    assert "error" not in page.ask("pause")
    assert console.control.is_paused
    assert page.until(lambda update: update["paused"])
    page.ask("resume")
    assert not console.control.is_paused
    page.ask("select", model="other")
    assert console.models.current == "other"
    assert page.until(lambda update: update["model"] == "other")
    assert "no such model is loaded; loaded are tiny, other" in page.ask("select", model="x")["error"]
    page.ask("stop")
    assert console.control.is_stopped


def test_each_viewer_watches_its_own_source(open_console: Callable[..., Any]) -> None:
    console = open_console(sources=("door", "gate"))
    door, gate = Page(console.connect()), Page(console.connect())
    gate.ask("watch", source="gate")
    console.show(source="door", label="circle")
    console.show(source="gate", label="star")
    assert door.until(lambda update: update["picture"])["picture"]["label"] == "circle"
    update = gate.until(lambda update: update["picture"])
    assert (update["source"], update["picture"]["label"]) == ("gate", "star")
    assert [status["label"] for status in update["statuses"]] == ["circle", "star"]
    gate.ask("watch", source="door")
    assert gate.until(lambda update: update["source"] == "door")["picture"]["label"] == "circle"
    gate.jpeg = b""
    gate.ask("watch", source="gate")
    gate.until(lambda update: update["source"] == "gate")
    assert gate.jpeg, "of a source that gives no more pictures the last one is sent again"
    assert "there is no such source" in gate.ask("watch", source="cellar")["error"]
