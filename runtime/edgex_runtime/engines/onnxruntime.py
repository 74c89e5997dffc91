"""onnxruntime runs .onnx files."""

import contextlib
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

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
CPU = "CPUExecutionProvider"
_PROVIDERS = {"auto": CPU, "cpu": CPU, "gpu": "CUDAExecutionProvider"}
_DEVICES = {CPU: "cpu", "CUDAExecutionProvider": "gpu"}
_ARITHMETIC = "Conv|Gemm|MatMul|Pool"
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int8)": "int8"}
_SEVERITY_ERROR = 3


class OnnxRuntimeEngine:
    """One .onnx file in an inference session."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self._path = path
        provider = _provider(options.device)
        self._missing_libraries = "" if provider == CPU else _load_libraries()
        if provider == CPU:
            self._open(options, provider)
            device = _DEVICES[CPU]
        else:
            with tempfile.TemporaryDirectory(prefix="edgex-", ignore_cleanup_errors=True) as folder:
                self._open(options, provider, profile=Path(folder) / "run")
                device = self._watch_first_run()
        self._info = EngineInfo(name="onnxruntime", version=onnxruntime.__version__, device=device)

    def _open(self, options: EngineOptions, provider: str, *, profile: Path | None = None) -> None:
        wishes = _session_options(options)
        if profile is not None:
            wishes.enable_profiling, wishes.profile_file_prefix = True, str(profile)
        try:
            session = onnxruntime.InferenceSession(
                str(self._path),
                wishes,
                providers=_with_fallback(provider),
                # Its own answer to an error is to print to stdout and to try again on the CPU.
                enable_fallback=0,
            )
            self._signature = check_classifier(self._path, _signature(self._path, session))
        except _VENDOR_ERRORS as error:
            raise ModelFileError(f"{self._path}: onnxruntime cannot load it: {_first_line(error)}") from error
        if session.get_providers()[0] != provider:
            # A provider whose libraries are not there is dropped with a log line only; we asked for that one.
            raise DeviceUnavailableError(
                f"device {options.device!r}: onnxruntime could not start {provider}, it has {session.get_providers()}: "
                f"install its driver and libraries, or use device 'cpu'{self._missing_libraries}"
            )
        self._session = session
        self._input = session.get_inputs()[0].name

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

    def _watch_first_run(self) -> str:
        """Run a session that is being profiled once, and say what device its arithmetic ran on."""
        shape = [max(size, 1) for size in self._signature.input_shape]
        self._execute(np.zeros(shape, self._signature.input_dtype))
        return devices_used(json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8")))

    def _execute(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        try:
            logits: NDArray[np.generic] = self._session.run(None, {self._input: batch})[0]
        except _VENDOR_ERRORS as error:
            raise ModelFileError(f"{self._path}: onnxruntime cannot run it: {_first_line(error)}") from error
        return logits.astype(np.float32, copy=False)


def devices_used(profile: list[dict[str, Any]]) -> str:
    """The devices that ran the arithmetic of a profiled run, in words: ``gpu``, ``cpu``, or ``gpu cpu``.

    That a provider is registered says nothing: what it cannot run goes to the CPU without a word. Shape arithmetic does
    so by onnxruntime's own choice, and does not count.

    Args:
        profile: What `end_profiling` wrote: one event for each kernel, with its op and its provider.
    """
    kernels = [event["args"] for event in profile if event.get("cat") == "Node" and "provider" in event.get("args", {})]
    used = {kernel["provider"] for kernel in kernels if re.search(_ARITHMETIC, kernel["op_name"])}
    return " ".join(sorted((_DEVICES.get(provider, provider) for provider in used), reverse=True))


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


def _load_libraries() -> str:
    """Load CUDA's libraries from where pip has put them, which onnxruntime does not by itself; say what it misses."""
    preload = getattr(onnxruntime, "preload_dlls", None)  # Since 1.21.
    if preload is None:
        return ""
    # It raises nothing, and prints to where our data goes.
    with contextlib.redirect_stdout(io.StringIO()) as said:
        preload()
    complaint = said.getvalue().strip().split("\n", 1)[0]
    return f" ({complaint})" if complaint else ""


def _with_fallback(provider: str) -> list[str]:
    # Shape arithmetic runs on the CPU beside any accelerator; that the accelerator itself is in use is checked after.
    return [provider] if provider == CPU else [provider, CPU]


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
