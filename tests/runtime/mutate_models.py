"""Damage model files in a thousand ways and open each, in a process of its own with bounded memory and time.

    python mutate_models.py MODEL SPEC COUNT SEED

prints one JSON line a mutant; `test_mutated_models.py` reads them. MODEL is a model file (of an OpenVINO IR the .xml);
SPEC is ``-``, or a spec.toml with which each mutant is opened should it carry no contract. Pieces are spliced from the
models in MODEL's folder.
"""

import io
import json
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

MEMORY_BYTES = 3 << 30
TIME_S = 30
_EXTREMES = (
    b"\xff" * 4, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 9 + b"\1",
    b"\xff\xff\xff\xff\x07", b"\0" * 4,
)  # fmt: skip
_NUMBERS = (
    b"-1", b"0", b"1", b"2147483648", b"4294967295", b"9223372036854775807", b"99999999999999999999", b"1e99", b"nan",
    b"",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_ELEMENT = re.compile(rb"<(layer|port|data|edge|dim|input|output)\b[^>]*/?>")

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def flip_bits(rng: random.Random, data: bytes, _: bytes) -> bytes:
    changed = bytearray(data)
    for _i in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_bytes(rng: random.Random, data: bytes, _: bytes) -> bytes:
    changed = bytearray(data)
    for _i in range(rng.choice((1, 2, 8))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def truncate(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def fill_range(rng: random.Random, data: bytes, _: bytes) -> bytes:
    start, end = _range(rng, data)
    return data[:start] + rng.choice((b"\0", b"\xff")) * (end - start) + data[end:]


def drop_block(rng: random.Random, data: bytes, _: bytes) -> bytes:
    start, end = _range(rng, data)
    return data[:start] + data[end:]


def repeat_block(rng: random.Random, data: bytes, _: bytes) -> bytes:
    start, end = _range(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 1, 50)) + data[end:]


def swap_blocks(rng: random.Random, data: bytes, _: bytes) -> bytes:
    a, b, c, d = sorted(rng.randrange(len(data) + 1) for _i in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start, end = _range(rng, data)
    piece = other[start:end] if rng.random() < 0.5 else other[slice(*_range(rng, other))]
    return data[:start] + piece + data[end:]


def set_length(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """An extreme in place of a number: anywhere, at a multiple of four, or in the head, where lengths stand."""
    extreme = rng.choice(_EXTREMES)
    at = rng.choice((rng.randrange(len(data)), rng.randrange(len(data)) & ~3, rng.randrange(min(64, len(data)))))
    return data[:at] + extreme + data[at + len(extreme) :]


def set_offset(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """A small number in place of a word: in a flatbuffer, an offset to another valid place, or back to itself."""
    at = rng.randrange(len(data)) & ~3
    return data[:at] + struct.pack("<i", rng.randrange(-256, 256)) + data[at + 4 :]


def set_number(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Another number in the text."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return flip_bits(rng, data, b"")
    place = rng.choice(found)
    return data[: place.start()] + rng.choice(_NUMBERS) + data[place.end() :]


def drop_element(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return _replace_element(rng, data, lambda found: b"" if found.endswith(b"/>") else b"<data/>")


def repeat_element(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return _replace_element(rng, data, lambda found: found * 2 if found.endswith(b"/>") else found)


def swap_text(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """One attribute's value in place of another's."""
    values = list(re.finditer(rb'"[^"]{1,40}"', data))
    if len(values) < 2:
        return swap_blocks(rng, data, b"")
    into, value = rng.sample(values, 2)
    return data[: into.start()] + value.group() + data[into.end() :]


_BYTES: tuple[Mutation, ...] = (
    flip_bits, set_bytes, truncate, fill_range, drop_block, repeat_block, swap_blocks, splice, set_length, set_offset,
)  # fmt: skip
_TEXT: tuple[Mutation, ...] = (set_number, set_number, drop_element, repeat_element, swap_text)


def _range(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 4, 16, 64, 256, 4096)))


def _replace_element(rng: random.Random, data: bytes, by: Callable[[bytes], bytes]) -> bytes:
    found = list(_ELEMENT.finditer(data))
    if not found:
        return drop_block(rng, data, b"")
    place = rng.choice(found)
    return data[: place.start()] + by(place.group()) + data[place.end() :]


def mutant(rng: random.Random, model: Path, folder: Path) -> tuple[str, Path]:
    """Write one mutant of `model` into `folder`; its name says what was done."""
    path, others = folder / f"mutant{model.suffix}", [p for p in model.parent.iterdir() if p.suffix == model.suffix]
    names = []
    texts = {file.suffix: file.read_bytes() for file in files(model)}
    for suffix in texts:
        (folder / f"mutant{suffix}").write_bytes(texts[suffix])
    if len(texts) == 2 and rng.random() < 0.05:
        other = rng.choice(others)
        kind = rng.choice(("swapped files", "another's weights", "empty weights"))
        changed = {
            "swapped files": (texts[".bin"], texts[".xml"]),
            "another's weights": (texts[".xml"], other.with_suffix(".bin").read_bytes()),
            "empty weights": (texts[".xml"], b""),
        }[kind]
        path.write_bytes(changed[0])
        path.with_suffix(".bin").write_bytes(changed[1])
        return kind, path
    for _i in range(rng.choice((1, 1, 1, 2, 4))):
        suffix = rng.choices(list(texts), weights=[3, 1][: len(texts)])[0]
        textual = suffix == ".xml" or (suffix == ".safetensors" and rng.random() < 0.3)
        mutation = rng.choice(_TEXT + _BYTES[:9] if textual else _BYTES)
        names.append(f"{mutation.__name__}{suffix}")
        other = rng.choice(others).with_suffix(suffix).read_bytes()
        texts[suffix] = mutation(rng, texts[suffix], other) if texts[suffix] else b""
    for suffix, data in texts.items():
        (folder / f"mutant{suffix}").write_bytes(data)
    return " ".join(names), path


def files(model: Path) -> list[Path]:
    return [model, model.with_suffix(".bin")] if model.suffix == ".xml" else [model]


def limit() -> None:
    """Bound this process: memory of its own, time, and no core dump."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (TIME_S, TIME_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def open_model(path: Path, spec: Path | None) -> str:
    """What `Model` makes of a file: ``loaded``, the name of an error of ours, or a traceback."""
    from edgex_runtime.errors import EdgexError
    from edgex_runtime.metadata.registry import read_spec
    from edgex_runtime.model import Model

    try:
        foreign = read_spec(path) is None
        with Model(path, threads=1, spec=spec if foreign else None) as model:
            model.warm_up()
    except EdgexError as error:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 (whatever it is, it is what this looks for)
        return traceback.format_exc()
    return "loaded foreign" if foreign else "loaded"


def inspect(path: Path) -> tuple[int, str]:
    """Exit status of `edgex inspect`, and what it wrote to stderr."""
    from edgex.cli.main import edgex, run

    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            run(edgex, ["inspect", str(path), "--json"], prog="edgex")
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int) else 0
        except BaseException:  # noqa: BLE001 (whatever it is, it is what this looks for)
            return -1, traceback.format_exc()
    return status, errors.getvalue()


def attempt(path: Path, spec: Path | None) -> dict[str, object]:
    """Open and inspect `path` in a fork with limits."""
    read_end, write_end = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        limit()
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1)
        os.dup2(devnull, 2)
        outcome = open_model(path, spec)
        os.write(write_end, json.dumps({"model": outcome[-2000:]}).encode() + b"\n")
        status, errors = inspect(path)
        os.write(write_end, json.dumps({"inspect": status, "stderr": errors[-2000:]}).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read()
    _, status, usage = os.wait4(child, 0)
    facts: dict[str, object] = {}
    for line in said.splitlines():
        facts |= json.loads(line)
    died = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else ""
    if not died and os.WEXITSTATUS(status):
        died = f"exit {os.WEXITSTATUS(status)}"
    return facts | {
        "died": died,
        "seconds": round(time.monotonic() - started, 2),
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": usage.ru_maxrss // 1024,
    }


def main() -> None:
    model, spec = Path(sys.argv[1]), None if sys.argv[2] == "-" else Path(sys.argv[2])
    count, seed = int(sys.argv[3]), int(sys.argv[4])
    # What every fork would import anew.
    import edgex.cli.inspect
    import edgex.cli.main
    from edgex_runtime.engines.registry import engine_for
    from edgex_runtime.golden import load_golden_images

    assert edgex.cli
    engine_for(model)
    load_golden_images()
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(count):
            name, path = mutant(random.Random(f"{seed}/{model.name}/{i}"), model, Path(scratch))
            if all(path.with_suffix(f.suffix).read_bytes() == f.read_bytes() for f in files(model)):
                name += " (the same)"
            print(json.dumps({"i": i, "mutation": name} | attempt(path, spec)), flush=True)


if __name__ == "__main__":
    main()
