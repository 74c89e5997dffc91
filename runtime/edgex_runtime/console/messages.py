"""What the page and the server say to each other. The page's side of it is in `page/link.js`.

The server sends text (JSON with a `kind`), and for each update one binary message: the length of its JSON in 4 bytes,
big-endian, the JSON, and a JPEG, or nothing where the viewer has that picture already. The page sends text.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from edgex_runtime.errors import SpecError
from edgex_runtime.schema import from_plain, to_plain

MAX_COMMAND_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One message from a viewer.

    Attributes:
        do: ``seen`` acknowledges the update `number` · ``watch`` chooses `source`, and whether to see its `picture`,
            and whether that is to be one with Grad-CAM (`explain`) · ``save`` keeps the picture `number` as the class
            `label` · ``select`` uses the model `model` · the rest is what `Control` has.
        request: Comes back in the answer.
    """

    do: Literal["seen", "watch", "save", "select", "pause", "resume", "stop"]
    number: int = 0
    source: str = ""
    picture: bool = True
    explain: bool = False
    label: str = ""
    model: str = ""
    request: int = 0


def read_command(text: str) -> Command:
    """Parse one.

    Raises:
        SpecError: If it is none.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"message: want JSON: {error}") from error
    return from_plain(Command, data, where="message")


def to_text(kind: str, **content: object) -> str:
    """One JSON message."""
    return json.dumps({"kind": kind, **to_plain(content)}, ensure_ascii=False, allow_nan=False)


def to_update(content: dict[str, Any], jpeg: bytes) -> bytes:
    """One binary message."""
    text = json.dumps(to_plain(content), ensure_ascii=False, allow_nan=False).encode()
    return len(text).to_bytes(4, "big") + text + jpeg
