"""A viewer of the console without a browser, over a real WebSocket."""

import io
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from websockets.sync.client import ClientConnection


class Page:
    """A viewer that does what the page does: it takes updates, and answers for each."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.hello = json.loads(socket.recv(timeout=5))
        self.jpeg = b""
        self.requests = 0

    def update(self) -> dict[str, Any]:
        """The next one; its picture, if it brings one, is in `jpeg`."""
        while isinstance(message := self.socket.recv(timeout=5), str):
            pass
        length = int.from_bytes(message[:4], "big")
        content = json.loads(message[4 : 4 + length])
        self.jpeg = message[4 + length :] or self.jpeg
        self.send("seen", number=content["number"])
        return content

    def until(self, holds: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        end = time.monotonic() + 10
        while not holds(update := self.update()):
            assert time.monotonic() < end, update
        return update

    def send(self, what: str, **content: Any) -> None:
        self.socket.send(json.dumps({"do": what, **content}))

    def ask(self, what: str, **content: Any) -> dict[str, Any]:
        """Have something done; the answer."""
        self.requests += 1
        self.send(what, request=self.requests, **content)
        while True:
            message = self.socket.recv(timeout=5)
            if isinstance(message, str):
                answer = json.loads(message)
                assert (answer["kind"], answer["request"]) == ("answer", self.requests)
                return answer
            self.send("seen", number=json.loads(message[4 : 4 + int.from_bytes(message[:4], "big")])["number"])

    def picture(self) -> np.ndarray:
        with Image.open(io.BytesIO(self.jpeg)) as image:
            return np.asarray(image.convert("RGB"))
