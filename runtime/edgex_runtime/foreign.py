"""Models that others made: their contract comes from the user's spec.toml, their own metadata and their graph.

What the three leave open is asked for by name. Nothing that changes an answer is guessed.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from edgex_runtime.engines.engine import Signature
from edgex_runtime.engines.tensors import ANY
from edgex_runtime.errors import SpecError
from edgex_runtime.schema import from_plain
from edgex_runtime.spec import ModelSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# `ModelSpec` has defaults that hold for our own artifacts; of a foreign model each has to be said.
_TO_BE_SAID = {
    "labels": 'labels = ["cat", "dog"], or labels = "labels.txt", in the order of the outputs',
    "output": 'output = "logits" or "probabilities"',
    "resize": 'resize = { mode = "crop", "stretch" or "letterbox" }',
}
_INPUT_TO_BE_SAID = {
    "height": "input.height = 224",
    "width": "input.width = 224",
    "dtype": 'input.dtype = "uint8" or "float32"',
    "layout": 'input.layout = "NHWC" or "NCHW"',
    "color": 'input.color = "RGB" or "BGR"',
}
_NORMALISE = "normalise = { mean = [127.5, 127.5, 127.5], std = [127.5, 127.5, 127.5] }, on pixels of 0..255"


def read_toml(path: Path) -> dict[str, Any]:
    """Read spec.toml; ``labels = "labels.txt"`` becomes that file's lines, its path relative to the TOML file.

    A label that stands twice in such a file becomes ``label (output)``, so that an answer stays one class.

    Raises:
        SpecError: If a file cannot be read or is no TOML.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: want a contract in TOML: {error}") from error
    if isinstance(data.get("labels"), str):
        data["labels"] = _read_labels(path.parent / data["labels"])
    return data


def complete_spec(
    path: Path, said: dict[str, Any], native_labels: tuple[str, ...] | None, declared: Signature
) -> ModelSpec:
    """Join what the user says of a model with what its file says.

    Args:
        path: The model file, for its name and the messages.
        said: As `read_toml` gives it; empty without one.
        native_labels: From the file's own metadata, if it has any.
        declared: By the graph.

    Raises:
        SpecError: Naming every fact that is missing, and how to write it.
    """
    facts: dict[str, Any] = {"name": path.stem, **said}
    if native_labels is not None:
        facts.setdefault("labels", list(native_labels))
    if isinstance(facts.get("input", {}), dict):
        facts["input"] = {**_declared_input(declared), **facts.get("input", {})}
        missing = [text for key, text in _INPUT_TO_BE_SAID.items() if key not in facts["input"]]
        if facts["input"].get("dtype") == "float32" and "normalise" not in facts:
            missing.append(_NORMALISE)
    else:
        missing = []
    missing += [text for key, text in _TO_BE_SAID.items() if key not in facts]
    if missing:
        raise SpecError(
            f"{path}: it carries no contract, and this is not known of it; write it into a spec.toml and give that "
            "as spec (--spec):\n  " + "\n  ".join(missing)
        )
    return from_plain(ModelSpec, facts, where=f"spec of {path.name}")


def _declared_input(declared: Signature) -> dict[str, Any]:
    """Size, dtype and layout, as far as the graph declares them; a size of 3 on both sides leaves the layout open."""
    shape = declared.input_shape[1:]
    known: dict[str, Any] = {}
    if declared.input_dtype in ("uint8", "float32"):
        known["dtype"] = declared.input_dtype
    if (shape[0] == 3) == (shape[2] == 3):
        return known
    known["layout"] = "NCHW" if shape[0] == 3 else "NHWC"
    height, width = shape[1:] if shape[0] == 3 else shape[:2]
    if ANY not in (height, width):
        known.update(height=height, width=width)
    return known


def _read_labels(path: Path) -> list[str]:
    try:
        labels = path.read_text(encoding="utf-8").rstrip("\n").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"labels: want a file of one label a line: {error}") from error
    # ImageNet's own list has two cranes, the bird and the machine: a double gets the number of its output.
    counts = Counter(labels)
    return [label if counts[label] == 1 else f"{label} ({i})" for i, label in enumerate(labels)]
