"""Reads a TFLite file, fp32 or int8, as a `Graph`, and shows every value of it as LiteRT computes it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from edgex_converters.graph import TO_NCHW, Graph, Kind, Place, Quantiser, assemble
from edgex_runtime.errors import StageError

_KINDS: dict[str, Kind] = {
    "CONV_2D": "conv",
    "DEPTHWISE_CONV_2D": "conv",
    "FULLY_CONNECTED": "linear",
    "RELU": "relu",
    "ADD": "add",
    "MAX_POOL_2D": "max_pool",
    "MEAN": "mean",
    "TRANSPOSE": "transpose",
    "CAST": "pass",
    "QUANTIZE": "pass",
    "DEQUANTIZE": "pass",
    "RESHAPE": "pass",
}
_OPS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_DTYPES: dict[int, Any] = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}
# litert-torch writes the modules that a tensor comes from: "a.b.Class_name/c.Conv2d_pointwise;1".
_LAYER = re.compile(r"torch\.nn\.modules\.(?:conv|linear)\.[A-Za-z0-9]+_\w+$")
_CLASS = re.compile(r"^(?:.*\.)?[A-Za-z0-9]+_")


def read(path: Path) -> Graph:
    """Read a model.

    Raises:
        StageError: If an op of it is not known here.
    """
    model = flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    file = _File(model)
    ops = [op for operator in graph.operators for op in file.ops(operator)]
    image = Place(kind="image", inputs=(), value=str(graph.inputs[0]), permutation=TO_NCHW, ops=("image",))
    return assemble([image, *ops], _value(graph.outputs[0]))


def tap(path: Path, graph: Graph, *, threads: int | None) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """Open a model so that it gives every place's value; see `blame_onnx.tap`.

    The values become outputs of the graph: an interpreter told to keep its tensors would run other kernels.
    """
    model = flatbuffer_utils.read_model(str(path))
    subgraph = model.subgraphs[0]
    shown = {place.name: int(place.value.partition(" ")[0]) for place in graph.places}
    subgraph.outputs = list(dict.fromkeys(index for index in shown.values() if index not in subgraph.inputs))
    model.signatureDefs = []  # They would name outputs that are not there any more.
    content = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    details = {detail["index"]: detail for detail in interpreter.get_output_details()}

    def run(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        return {
            name: _nchw(_dequantised(interpreter.get_tensor(index), details[index]) if index in details else images)
            for name, index in shown.items()
        }

    return run


def _value(tensor: int) -> str:
    """What the ops call a tensor: cut to its range, where it has one."""
    return f"{tensor} cut"


class _File:
    """A model's subgraph; its ops as places."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._stored: dict[int, int] = {}
        self._graph = model.subgraphs[0]
        # Constants that an op of their own dequantises, as those in half precision.
        self._stored = {
            int(operator.outputs[0]): int(operator.inputs[0])
            for operator in self._graph.operators
            if self._op_name(operator) == "DEQUANTIZE" and self._data(operator.inputs[0]) is not None
        }

    def ops(self, operator: Any) -> Iterator[Place]:
        """The places of one operator: itself, its fused ReLU, and the range of its result."""
        op, result = self._op_name(operator), int(operator.outputs[0])
        if result in self._stored:
            return
        name = self._graph.tensors[result].name.decode()
        kind = _KINDS.get(op)
        if kind is None:
            raise StageError(f"blame: {name}: want one of {', '.join(_KINDS)}, found {op}")
        place, last = self._op(operator, op, kind, name), f"{result}"
        yield place
        activation = getattr(operator.builtinOptions, "fusedActivationFunction", 0) or 0
        if activation == schema.ActivationFunctionType.RELU:
            yield Place(kind="relu", inputs=(last,), value=f"{result} relu", ops=(name,))
            last = f"{result} relu"
        elif activation:
            raise StageError(f"blame: {name}: want no fused activation or a ReLU, found number {activation}")
        cut = self._quantiser(result)
        steps = () if cut is None else (cut,)
        yield Place(kind="pass" if cut is None else "quantise", inputs=(last,), value=_value(result), steps=steps)

    def _op(self, operator: Any, op: str, kind: Kind, name: str) -> Place:
        inputs = [index for index in operator.inputs if index >= 0]
        values = tuple(self._read(index) for index in inputs if self._data(index) is None)
        place: dict[str, Any] = {"kind": kind, "inputs": values, "value": str(operator.outputs[0]), "ops": (name,)}
        options = operator.builtinOptions
        if kind in ("conv", "linear"):
            place["name"] = layer_of(self._graph.tensors[inputs[1]].name.decode()) or name
            place |= self._weights(op, inputs)
        if kind in ("conv", "max_pool"):
            kernel = place["weight"].shape[2:] if kind == "conv" else (options.filterHeight, options.filterWidth)
            place["stride"] = (options.strideH, options.strideW)
            place["kernel"] = tuple(map(int, kernel))
            place["pads"] = self._pads(inputs[0], options, place["kernel"])
        if kind == "transpose":
            # The values are kept as NCHW, whatever the file says of them.
            nhwc = tuple(map(int, self._data(inputs[1])))  # type: ignore[arg-type]
            place["permutation"] = tuple(TO_NCHW.index(nhwc[axis]) for axis in TO_NCHW)
        return Place(**place)

    def _op_name(self, operator: Any) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        name: str = _OPS[max(code.builtinCode, code.deprecatedBuiltinCode)]
        return name

    def _read(self, tensor: int) -> str:
        return str(tensor) if tensor in self._graph.inputs else _value(tensor)

    def _weights(self, op: str, inputs: list[int]) -> dict[str, Any]:
        weight = self._constant(inputs[1])
        place: dict[str, Any] = {}
        if op == "CONV_2D":
            weight = weight.transpose(0, 3, 1, 2)
            channels = self._graph.tensors[inputs[0]].shape[3]
            place["groups"] = int(channels) // weight.shape[1]
        elif op == "DEPTHWISE_CONV_2D":  # (1, h, w, channels)
            weight = weight.transpose(3, 0, 1, 2)
            place["groups"] = int(self._graph.tensors[inputs[0]].shape[3])
        place["weight"] = weight
        if len(inputs) > 2:
            place["bias"] = self._constant(inputs[2])
        return place

    def _pads(self, tensor: int, options: Any, kernel: tuple[int, int]) -> tuple[int, int, int, int]:
        """TensorFlow's ``SAME``: the larger half below and to the right."""
        if getattr(options, "dilationHFactor", 1) != 1 or getattr(options, "dilationWFactor", 1) != 1:
            raise StageError("blame: dilations are not known here")
        if options.padding == schema.Padding.VALID:
            return (0, 0, 0, 0)
        sizes, strides = self._graph.tensors[tensor].shape[1:3], (options.strideH, options.strideW)
        total = [
            max(0, (-(-int(size) // stride) - 1) * stride + window - int(size))
            for size, stride, window in zip(sizes, strides, kernel, strict=True)
        ]
        return (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)

    def _data(self, tensor: int) -> NDArray[Any] | None:
        entry = self._graph.tensors[self._stored.get(tensor, tensor)]
        data = self._model.buffers[entry.buffer].data
        if data is None or len(data) == 0:
            return None
        return np.frombuffer(bytes(data), _DTYPES[entry.type]).reshape(entry.shape)

    def _constant(self, tensor: int) -> NDArray[np.float32]:
        """A constant, dequantised."""
        data, quantization = self._data(tensor), self._graph.tensors[tensor].quantization
        if data is None:
            raise StageError(f"blame: {self._graph.tensors[tensor].name.decode()}: want a constant, found a value")
        values = data.astype(np.float32)
        if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
            return values
        shape = [1] * values.ndim
        if len(quantization.scale) > 1:
            shape[quantization.quantizedDimension] = -1
        scale = np.asarray(quantization.scale, np.float32).reshape(shape)
        zero = np.asarray(quantization.zeroPoint, np.float32).reshape(shape)
        return (values - zero) * scale

    def _quantiser(self, tensor: int) -> Quantiser | None:
        entry = self._graph.tensors[tensor]
        quantization = entry.quantization
        if entry.type not in (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16):
            return None
        if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
            return None
        return Quantiser.affine(
            float(quantization.scale[0]), int(quantization.zeroPoint[0]), np.dtype(_DTYPES[entry.type])
        )


def layer_of(tensor: str) -> str:
    """The layer that a weight belongs to, by the modules that its name lists; empty if none of them is a layer.

    Where the converter fused modules it joins their names by semicolons.
    """
    paths = [path for path in tensor.split(";") if _LAYER.search(path)]
    if not paths:
        return ""
    modules = [_CLASS.sub("", part) for part in paths[-1].split("/")[1:]]
    return "_".join(modules).removeprefix("network_")


def _nchw(values: NDArray[Any]) -> NDArray[Any]:
    return values.transpose(TO_NCHW) if values.ndim == 4 else values


def _dequantised(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    scale, zero_point = details["quantization"]
    if not np.issubdtype(values.dtype, np.integer) or scale == 0:
        return values.astype(np.float32)
    return np.float32(scale) * (values.astype(np.float32) - np.float32(zero_point))
