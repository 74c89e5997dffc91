"""The part of a source's URI after the `?`: text → typed values; an unknown option names the nearest known one."""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from edgex_runtime.address import shown
from edgex_runtime.errors import BadInputError

Size = tuple[int, int]
MAX_SIDE_PX = 8192
MAX_FPS = 1000.0


def parse_options(query: str, known: Mapping[str, Callable[[str], object]], *, where: str) -> dict[str, object]:
    """Parse ``size=640x480&fps=30``.

    Args:
        query: What stands after the `?`; may be empty.
        known: Option to the function that parses its value, or raises ValueError saying what it wants.
        where: The whole URI, for the messages, which hide its secrets.

    Raises:
        BadInputError: If an option is unknown, stands twice, or has a value that is not one.
    """
    values: dict[str, object] = {}
    where = shown(where)
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise BadInputError(f"{where}: unknown option {shown(key)!r}; {nearest(key, known)}")
        if key in values:
            raise BadInputError(f"{where}: {key!r} stands twice: give it once")
        try:
            values[key] = known[key](text)
        except ValueError as error:
            raise BadInputError(f"{where}: {key}: {error}, got {shown(text)!r}") from error
    return values


def nearest(name: str, known: Mapping[str, object]) -> str:
    """What to say after an unknown name: ``did you mean 'fps'?`` or the list of all that are known."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known) or 'none'}"


def parse_size(text: str) -> Size:
    """``640x480`` → (640, 480), width first.

    >>> parse_size("640x480")
    (640, 480)
    """
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None or not all(16 <= int(side) <= MAX_SIDE_PX for side in match.groups()):
        raise ValueError(f"want WIDTHxHEIGHT of 16 to {MAX_SIDE_PX} pixels, such as 640x480")
    return int(match[1]), int(match[2])


def parse_fps(text: str) -> float:
    """``29.97`` → 29.97 frames per second."""
    value = _number(text)
    if not 0 < value <= MAX_FPS:
        raise ValueError(f"want frames per second, above 0 and up to {MAX_FPS:.0f}")
    return value


def parse_share(text: str) -> float:
    """``5%`` → 0.05.

    >>> parse_share("5%")
    0.05
    """
    value = _number(text[:-1]) if text.endswith("%") else math.nan
    if not 0 <= value <= 100:
        raise ValueError("want a share of 0% to 100%, such as 5%")
    return value / 100


def parse_seconds(text: str) -> float:
    """``3s`` → 3.0; ``500ms`` → 0.5.

    >>> parse_seconds("3s"), parse_seconds("500ms")
    (3.0, 0.5)
    """
    for unit, scale in (("ms", 1e-3), ("s", 1.0)):
        if text.endswith(unit):
            value = _number(text.removesuffix(unit)) * scale
            if 0 <= value <= 86_400:
                return value
            break
    raise ValueError("want a time with its unit, such as 3s or 500ms")


def parse_count(text: str) -> int:
    """A whole number of 1 or more."""
    value = parse_seed(text)
    if value < 1:
        raise ValueError("want a whole number of 1 or more")
    return value


def parse_seed(text: str) -> int:
    """A whole number of 0 or more."""
    if re.fullmatch(r"[0-9]{1,18}", text) is None:
        raise ValueError("want a whole number of 0 or more")
    return int(text)


def parse_choice(*choices: str) -> Callable[[str], str]:
    """A parser that takes one of `choices` and nothing else."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"want {' or '.join(choices)}")
        return text

    return parse


def _number(text: str) -> float:
    # float() also takes "nan", "1_0" and Arabic digits; a URI has no use for them.
    return float(text) if re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,18})?", text) else math.nan
