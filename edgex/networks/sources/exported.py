"""`model.pt2`: a program that `torch.export.save` wrote; its own signature says size and layout."""

import zipfile
from pathlib import Path
from typing import Literal

import torch
from torch.export import ExportedProgram

from edgex.networks.sources.facts import Missing, Size
from edgex.networks.sources.offer import Offer
from edgex_runtime.errors import BadInputError, ModelFileError
from edgex_runtime.provenance import file_sha256

_HOW = (
    "torch.export.export(network.eval(), (torch.zeros(2, 3, H, W),), dynamic_shapes=({0: torch.export.Dim('batch')},))"
)
# Operators whose last argument but some says whether they still train.
_TRAINING = ("aten.native_batch_norm", "aten.batch_norm", "aten.dropout", "aten.native_dropout")


def load(source: str, rest: str, missing: Missing) -> Offer:
    """Read an exported program.

    Raises:
        ModelFileError: If it cannot be read.
        BadInputError: If it does not take a free batch of float images, or was exported while it trained.
    """
    path = Path(rest)
    if missing.weights is not None:
        raise BadInputError(f"{source}: it carries its own weights: leave --weights out")
    program = _read(path)
    layout, size = _images(path, program)
    _refuse_training(path, program)
    return Offer(network=program.module(), title=path.stem, sha256=file_sha256(path), input_size=size, layout=layout)


def _read(path: Path) -> ExportedProgram:
    try:
        return torch.export.load(path)
    # A zip that is none, a member that is missing, a schema of another torch.
    except (OSError, RuntimeError, ValueError, KeyError, AssertionError, zipfile.BadZipFile) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelFileError(f"{path}: want a program by torch.export.save, torch cannot read it: {first}") from error


def _images(path: Path, program: ExportedProgram) -> tuple[Literal["NCHW", "NHWC"], Size | None]:
    """Layout and size of the one input; no size where it is free."""
    names = program.graph_signature.user_inputs
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor) or values[0].ndim != 4:
        raise BadInputError(f"{path}: want one input of images, (N, 3, H, W) or (N, H, W, 3), found {len(values)}")
    dimensions: tuple[int | torch.SymInt, ...] = tuple(values[0].shape)
    batch, shape = dimensions[0], dimensions[1:]
    if values[0].dtype != torch.float32:
        raise BadInputError(f"{path}: want float32 images, found {values[0].dtype}")
    if isinstance(batch, int):
        raise BadInputError(f"{path}: want a free batch, it was exported for {batch}: {_HOW}")
    layout: Literal["NCHW", "NHWC"] = "NCHW" if shape[0] == 3 else "NHWC"
    if shape[0 if layout == "NCHW" else 2] != 3:
        raise BadInputError(f"{path}: want three channels, found an input of {tuple(map(str, shape))}")
    height, width = shape[1:] if layout == "NCHW" else shape[:2]
    return layout, (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _refuse_training(path: Path, program: ExportedProgram) -> None:
    """An exported program cannot be put into evaluation mode any more."""
    for node in program.graph.nodes:
        name = str(node.target)
        if node.op == "call_function" and name.startswith(_TRAINING) and _is_training(name, node.args):
            raise BadInputError(f"{path}: it was exported while it trained ({name}): {_HOW}")


def _is_training(name: str, arguments: tuple[object, ...]) -> bool:
    # batch_norm(input, weight, bias, mean, var, training, …); dropout(input, p, train).
    place = 5 if "batch_norm" in name else 2
    return len(arguments) > place and arguments[place] is True
