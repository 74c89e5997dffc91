"""TFLite runs .tflite files: ai-edge-litert, or the same interpreter under its old name, tflite-runtime."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.engines.engine import EngineInfo, EngineOptions, Signature
from edgex_runtime.engines.tensors import check_batch, check_classifier, run_in_pieces
from edgex_runtime.errors import DeviceUnavailableError, ModelFileError

try:
    from ai_edge_litert import __version__ as version
    from ai_edge_litert.interpreter import Interpreter

    _PACKAGE = "ai-edge-litert"
except ModuleNotFoundError as missing:
    if missing.name != "ai_edge_litert":
        raise
    from tflite_runtime import __version__ as version
    from tflite_runtime.interpreter import Interpreter

    _PACKAGE = "tflite-runtime"


class TfliteEngine:
    """One .tflite file in an interpreter, on the CPU by XNNPACK."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        if options.device not in ("auto", "cpu"):
            raise DeviceUnavailableError(f"device {options.device!r}: the TFLite engine has cpu only; use device 'cpu'")
        # Left to itself it takes one thread, whatever the machine.
        threads = options.threads or len(os.sched_getaffinity(0))
        try:
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
            inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(f"{path}: TFLite cannot load it: {_first_line(error)}") from error
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelFileError(f"{path}: want one input and one output, got {len(inputs)} and {len(outputs)}")
        self._image, self._logits = inputs[0], outputs[0]
        self._path = path
        self._interpreter = interpreter
        self._signature = check_classifier(path, _signature(self._image, self._logits))
        self._info = EngineInfo(name="tflite", version=f"{_PACKAGE} {version}", device="cpu")

    @property
    def info(self) -> EngineInfo:
        """Who runs it."""
        return self._info

    @property
    def signature(self) -> Signature:
        """What the graph declares."""
        return self._signature

    def run(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        """Execute the graph; see `Engine.run`."""
        check_batch(batch, self._signature)
        return run_in_pieces(self._execute, batch, self._signature.input_shape[0])

    def close(self) -> None:
        """Release the interpreter."""
        self._interpreter = None

    def _execute(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        try:
            self._interpreter.set_tensor(self._image["index"], batch)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(f"{self._path}: TFLite cannot run it: {_first_line(error)}") from error
        logits: NDArray[np.generic] = self._interpreter.get_tensor(self._logits["index"])
        return _dequantised(logits, self._logits)


def _signature(image: dict[str, Any], logits: dict[str, Any]) -> Signature:
    # `shape`, not `shape_signature`: the interpreter allocates a batch of 1 for one that may vary, and is fed so.
    return Signature(
        input_shape=tuple(map(int, image["shape"])),
        input_dtype=np.dtype(image["dtype"]).name,
        output_shape=tuple(map(int, logits["shape"])),
        output_dtype=np.dtype(logits["dtype"]).name,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _dequantised(values: NDArray[np.generic], details: dict[str, Any]) -> NDArray[np.float32]:
    """Return scale · (quantised − zero point) (https://www.tensorflow.org/lite/performance/quantization_spec)."""
    scale, zero_point = details["quantization"]
    if not np.issubdtype(values.dtype, np.integer) or scale == 0:
        return values.astype(np.float32, copy=False)
    return np.float32(scale) * (values.astype(np.float32) - np.float32(zero_point))
