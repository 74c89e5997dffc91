"""A headless Chromium for tests of pages."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium() -> str:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser on PATH (looked for {', '.join(NAMES)}): apt-get install chromium")
    return program


class Browser:
    """A headless Chromium, driven through its debugging pipe: https://chromedevtools.github.io/devtools-protocol/."""

    def __init__(self, program: str, profile: Path, *more_options: str) -> None:
        to_read, self._write = os.pipe()
        read, to_write = os.pipe()
        command = f'exec "$@" 3<&{to_read} 4>&{to_write}'  # Chromium wants the pipe at these two descriptors.
        options = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", *more_options]
        # Chromium refuses to run as root with its sandbox.
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, "bash", program, *options, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._answers = os.fdopen(read, "rb")
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.send(f"{domain}.enable")
        self.send("Page.setLifecycleEventsEnabled", enabled=True)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(
            self._write, json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        while (answer := self._receive()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path | str, width: int, scheme: str = "light", *, height: int = 900) -> None:
        # What the page before has still to say is not this one's.
        self._go("about:blank")
        self.events.clear()
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **screen)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._go(page if isinstance(page, str) else page.as_uri())

    def _go(self, url: str) -> None:
        """Open an address and wait until this very page has loaded."""
        loader = self.send("Page.navigate", url=url)["loaderId"]
        while not any(
            told["loaderId"] == loader and told["name"] == "load" for told in self.told("Page.lifecycleEvent")
        ):
            self.events.append(self._receive())

    def value(self, expression: str) -> Any:
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression: str, *, timeout_s: float = 20) -> Any:
        """Ask until the answer is true."""
        end = time.monotonic() + timeout_s
        while not (value := self.value(expression)):
            assert time.monotonic() < end, (
                f"never true: {expression}; the page: {self.value('document.body.innerText')}"
            )
            time.sleep(0.03)
        return value

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def click(self, selector: str) -> None:
        """With the mouse, where the element is: a button that something covers is not clicked."""
        at = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{at}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.value(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({at}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        data = self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def complaints(self) -> list[dict[str, Any]]:
        """Whatever the page's console says."""
        return self.told("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")

    def told(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") in methods]

    def close(self) -> None:
        self._session = None
        self.send("Browser.close")
        self._process.wait(20)
        self._answers.close()
        os.close(self._write)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._answers.fileno(), 1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        answer, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(answer)
        return message
