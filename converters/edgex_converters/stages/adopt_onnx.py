"""Somebody's ONNX file → ONNX fp32 with our contract: bytes in, layout, channel order and scaling inside the graph."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from edgex_converters.stage import Job
from edgex_converters.stages.finish_onnx import INPUT, OPSET, OUTPUT, finish
from edgex_runtime.errors import StageError
from edgex_runtime.spec import ModelSpec

# Quantisation by channel, and what is put in front here, are spelt in opset 13 and later.
_LOWEST_OPSET = 13
_CONSTANTS_ALONE = 4
_REVERSED = np.array([2, 1, 0], dtype=np.int64)


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Put what the file's users had to do before its first node, and call its ends as ours are called.

    Raises:
        StageError: If its opset is too old and onnx cannot write it in a newer one.
    """
    file = job.onnx_file
    # With weights in files beside it, which come into the one that is written.
    model = _modern(onnx.load(file.path))
    _drop_constant_inputs(model)
    _rename_ends(model.graph)
    _prepend_preprocessing(model.graph, file.spec)
    del model.graph.value_info[:]
    onnx.save(finish(model), destination)


def _modern(model: onnx.ModelProto) -> onnx.ModelProto:
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if version >= _LOWEST_OPSET:
        return model
    try:
        newer: onnx.ModelProto = version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise StageError(
            f"adopt_onnx: want opset {_LOWEST_OPSET} or later, the file has {version}, and onnx cannot write it in "
            f"opset {OPSET}: {first}: export it again with a newer exporter"
        ) from error
    return newer


def _drop_constant_inputs(model: onnx.ModelProto) -> None:
    """Before IR 4 every weight was an input, too, and had to be."""
    model.ir_version = max(model.ir_version, _CONSTANTS_ALONE)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in weights]:
        model.graph.input.remove(value)


def _rename_ends(graph: onnx.GraphProto) -> None:
    """Make way for our names, then give the output its own."""
    for name in (INPUT, OUTPUT):
        _rename(graph, name, f"{name}_inside")
    _rename(graph, graph.output[0].name, OUTPUT)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else [])):
                _rename(inner, old, new)
    for value in (*graph.input, *graph.output, *graph.initializer):
        if value.name == old:
            value.name = new


def _prepend_preprocessing(graph: onnx.GraphProto, spec: ModelSpec) -> None:
    """Write ``image`` uint8 NHWC RGB → what was the input, in the order in which `Deployed` does it: bytes first."""
    theirs = graph.input[0]
    steps = list(_steps(spec))
    values = [INPUT, *(f"{INPUT}_{index}" for index in range(1, len(steps))), theirs.name]
    nodes = []
    for index, (op_type, constant, attributes) in enumerate(steps):
        inputs = [values[index]]
        if constant is not None:
            inputs.append(f"{INPUT}_{op_type.lower()}_constant")
            graph.initializer.append(numpy_helper.from_array(constant, inputs[1]))
        name = f"{INPUT}_{op_type.lower()}"
        nodes.append(helper.make_node(op_type, inputs, [values[index + 1]], name=name, **attributes))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    batch = theirs.type.tensor_type.shape.dim[0]
    size = [batch.dim_value if batch.HasField("dim_value") else "batch", spec.input.height, spec.input.width, 3]
    theirs.CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, size))


def _steps(spec: ModelSpec) -> "list[tuple[str, NDArray[np.generic] | None, dict[str, object]]]":
    """Op, constant and attributes of each step."""
    assert spec.normalise is not None  # A float32 contract has one, in the graph's channel order.
    mean, std = np.asarray(spec.normalise.mean, np.float32), np.asarray(spec.normalise.std, np.float32)
    shape = (1, 3, 1, 1) if spec.input.layout == "NCHW" else (1, 1, 1, 3)
    steps: list[tuple[str, NDArray[np.generic] | None, dict[str, object]]] = []
    if spec.input.color == "BGR":
        steps.append(("Gather", _REVERSED, {"axis": 3}))
    if spec.input.layout == "NCHW":
        steps.append(("Transpose", None, {"perm": [0, 3, 1, 2]}))
    steps.append(("Cast", None, {"to": TensorProto.FLOAT}))
    if mean.any():
        steps.append(("Sub", mean.reshape(shape), {}))
    if (std != 1).any():
        steps.append(("Mul", (1 / std).reshape(shape), {}))
    return steps
