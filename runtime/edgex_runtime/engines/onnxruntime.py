"""onnxruntime runs .onnx files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.engines.engine import EngineInfo, EngineOptions, Signature
from edgex_runtime.engines.tensors import ANY, check_batch, check_classifier, run_in_pieces
from edgex_runtime.errors import DeviceUnavailableError, ModelFileError
from edgex_runtime.privacy import decline_telemetry

decline_telemetry()

import onnxruntime  # noqa: E402 (declining has to come first)
from onnxruntime.capi import onnxruntime_pybind11_state as states  # noqa: E402

# The bindings' exceptions share no base but Exception; names in a damaged file may be no text at all.
_VENDOR_ERRORS: tuple[type[Exception], ...] = (
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NoModel,
    states.NoSuchFile,
    states.NotImplemented,
    states.RuntimeException,
    states.EPFail,
    UnicodeDecodeError,
)
_PROVIDERS = {"auto": "CPUExecutionProvider", "cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}
_DEVICES = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "gpu"}
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int8)": "int8"}
_SEVERITY_ERROR = 3


class OnnxRuntimeEngine:
    """One .onnx file in an inference session."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        provider = _provider(options.device)
        try:
            session = onnxruntime.InferenceSession(
                str(path),
                _session_options(options),
                providers=_with_fallback(provider),
                # Its own answer to an error is to print to stdout and to try again on the CPU.
                enable_fallback=0,
            )
            self._signature = check_classifier(path, _signature(path, session))
        except _VENDOR_ERRORS as error:
            raise ModelFileError(f"{path}: onnxruntime cannot load it: {_first_line(error)}") from error
        if session.get_providers()[0] != provider:
            # A provider whose libraries are not there is dropped with a log line only; we asked for that one.
            raise DeviceUnavailableError(
                f"device {options.device!r}: onnxruntime could not start {provider}, it has {session.get_providers()}: "
                "install its driver and libraries, or use device 'cpu'"
            )
        self._path = path
        self._session = session
        self._input = session.get_inputs()[0].name
        self._info = EngineInfo(name="onnxruntime", version=onnxruntime.__version__, device=_DEVICES[provider])

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
        """Release the session."""
        self._session = None

    def _execute(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        try:
            logits: NDArray[np.generic] = self._session.run(None, {self._input: batch})[0]
        except _VENDOR_ERRORS as error:
            raise ModelFileError(f"{self._path}: onnxruntime cannot run it: {_first_line(error)}") from error
        return logits.astype(np.float32, copy=False)


def _provider(device: str) -> str:
    available = onnxruntime.get_available_providers()
    provider = _PROVIDERS.get(device)
    if provider is None or provider not in available:
        devices = sorted({name for name, needs in _PROVIDERS.items() if needs in available} - {"auto"})
        raise DeviceUnavailableError(
            f"device {device!r}: this onnxruntime has {', '.join(devices)}; "
            f"use one of them, or install the onnxruntime that is built for {device}"
        )
    return provider


def _with_fallback(provider: str) -> list[str]:
    # Shape arithmetic runs on the CPU beside any accelerator; that the accelerator itself is in use is checked after.
    return [provider] if provider == "CPUExecutionProvider" else [provider, "CPUExecutionProvider"]


def _session_options(options: EngineOptions) -> "onnxruntime.SessionOptions":
    session = onnxruntime.SessionOptions()
    session.log_severity_level = _SEVERITY_ERROR
    session.inter_op_num_threads = 1
    if options.threads is not None:
        session.intra_op_num_threads = options.threads
    # Between two frames its threads would spin at full load, which a board pays for in heat and in frames lost.
    session.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spin else "0")
    return session


def _signature(path: Path, session: "onnxruntime.InferenceSession") -> Signature:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelFileError(f"{path}: want one input and one output, got {len(inputs)} and {len(outputs)}")
    return Signature(
        input_shape=_shape(inputs[0].shape),
        input_dtype=_DTYPES.get(inputs[0].type, inputs[0].type),
        output_shape=_shape(outputs[0].shape),
        output_dtype=_DTYPES.get(outputs[0].type, outputs[0].type),
    )


def _shape(declared: list[int | str | None]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else ANY for size in declared)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
