"""JSON lines: one object for every result, flushed at once, so that a program can follow the run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from edgex_runtime.errors import BadInputError
from edgex_runtime.schema import to_plain
from edgex_runtime.sinks.registry import Surroundings
from edgex_runtime.sinks.sink import LiveResult
from edgex_runtime.sources.source import Frame

SCHEMA_VERSION = 1
# No reader needs a microsecond's thousandth part, and every digit is a byte of the log.
MS_DIGITS = 3
SCORE_DIGITS = 6
# Made once: `json.dumps` makes another for each line.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


class JsonlSink:
    """Writes to a stream; closes it only if it is its own."""

    def __init__(self, stream: TextIO, *, name: str, owned: bool) -> None:
        self._stream = stream
        self._name = name
        self._owned = owned

    def write(self, frame: Frame | None, result: LiveResult) -> None:
        """Write one line.

        Raises:
            BrokenPipeError: If whoever read the stream has gone.
            BadInputError: If the disk refuses it.
        """
        with self._told():
            self._stream.write(to_line(result))
            self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        if self._owned:
            with self._told():
                self._stream.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise BadInputError(f"{self._name}: cannot be written any more: {error}") from error


def to_line(result: LiveResult) -> str:
    """Serialise: ``kind`` is ``frame``, or ``state`` where the line only tells what the source is doing."""
    times = result.times
    data = {
        "schema": SCHEMA_VERSION,
        "kind": "state" if result.index is None else "frame",
        "index": result.index,
        "name": result.name,
        "source": result.source,
        "model": result.model,
        "state": result.state.value,
        "label": result.label,
        "score": None if result.score is None else round(result.score, SCORE_DIGITS),
        # Below the user's threshold the label stays, as the guess that it is: `known` is false.
        "known": result.known,
        "events": to_plain(result.events) if result.events else [],
        "reused": result.reused,
        "top5": [{"label": best.label, "score": round(best.score, SCORE_DIGITS)} for best in result.top5],
        "age_ms": _round(result.age_ms),
        "dropped": result.dropped,
        "times": times
        and {
            "capture_ms": _round(times.capture_ms),
            "preprocess_ms": _round(times.preprocess_ms),
            "inference_ms": _round(times.inference_ms),
            "postprocess_ms": _round(times.postprocess_ms),
        },
        "position_ms": _round(result.position_ms),
        "at_ns": result.at_ns,
        "error": result.error,
    }
    return _ENCODER.encode(data) + "\n"


def open_jsonl(uri: str, surroundings: Surroundings) -> JsonlSink:
    """Open ``-``, which is stdout, or a file, which is replaced.

    A log is written as it happens and not under a temporary name: whoever follows it wants the lines now.

    Raises:
        BadInputError: If the file cannot be made.
    """
    if uri == "-":
        return JsonlSink(surroundings.stdout, name="stdout", owned=False)
    try:
        stream = Path(uri).open("w", encoding="utf-8")  # noqa: SIM115 - closed by the sink
    except OSError as error:
        raise BadInputError(f"{uri}: cannot be written: {error.strerror}") from error
    return JsonlSink(stream, name=uri, owned=True)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, MS_DIGITS)
