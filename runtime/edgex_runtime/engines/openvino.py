"""OpenVINO runs .xml + .bin, and .onnx when it is asked for by name."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex_runtime.engines.engine import EngineInfo, EngineOptions, Signature
from edgex_runtime.engines.tensors import ANY, check_batch, check_classifier, run_in_pieces
from edgex_runtime.errors import DeviceUnavailableError, ModelFileError
from edgex_runtime.privacy import decline_telemetry

decline_telemetry()

import openvino  # noqa: E402 (declining has to come first)
from openvino import properties  # noqa: E402
from openvino.properties import hint  # noqa: E402

# The bindings raise RuntimeError only, but names in a damaged file may be no text at all.
_VENDOR_ERRORS = (RuntimeError, UnicodeDecodeError)
_DEVICES = {"auto": "CPU", "cpu": "CPU", "gpu": "GPU", "npu": "NPU"}


class OpenVinoEngine:
    """One model, compiled for one device."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        core = openvino.Core()
        device = _device(core, options.device)
        try:
            model = core.read_model(path)
            self._signature = check_classifier(path, _signature(path, model))
            _fix_batch(model, self._signature)
            compiled = core.compile_model(model, device, _config(device, options))
        except _VENDOR_ERRORS as error:
            raise ModelFileError(f"{path}: OpenVINO cannot load it: {_first_line(error)}") from error
        self._path = path
        batch = compiled.input(0).get_partial_shape()[0]
        self._batch = ANY if batch.is_dynamic else batch.get_length()
        self._request = compiled.create_infer_request()
        self._info = EngineInfo(
            name="openvino",
            version=openvino.__version__,
            device=" ".join(compiled.get_property(properties.execution_devices())).lower(),
        )

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
        return run_in_pieces(self._execute, batch, self._batch)

    def close(self) -> None:
        """Release the compiled model."""
        self._request = None

    def _execute(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        try:
            results = self._request.infer([batch], share_inputs=True, share_outputs=False)
        except _VENDOR_ERRORS as error:
            raise ModelFileError(f"{self._path}: OpenVINO cannot run it: {_first_line(error)}") from error
        logits: NDArray[np.generic] = results[0]
        return logits.astype(np.float32, copy=False)


def _device(core: "openvino.Core", device: str) -> str:
    wanted = _DEVICES[device]
    available: list[str] = core.available_devices
    # Several GPUs are GPU.0, GPU.1, …
    if not any(name.split(".")[0] == wanted for name in available):
        raise DeviceUnavailableError(
            f"device {device!r}: OpenVINO sees {', '.join(available)} here: install the driver of the {wanted}, "
            "or use one of these"
        )
    return wanted


def _fix_batch(model: "openvino.Model", declared: Signature) -> None:
    """Compile a dynamic batch for one image, the batch that a camera has.

    OpenVINO 2026.4.1 ends in a segmentation fault where an int8 graph of dynamic batch meets a CPU with AMX (a narrow
    Xception at 64 pixels; the same file is right with ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI, and with its batch fixed).
    """
    if declared.input_shape[0] == ANY and ANY not in declared.input_shape[1:]:
        model.reshape([1, *declared.input_shape[1:]])


def _config(device: str, options: EngineOptions) -> dict[Any, Any]:
    config: dict[Any, Any] = {hint.performance_mode: hint.PerformanceMode.LATENCY}
    if device == "CPU":
        # On CPUs with AMX or bf16 it would run an fp32 model in bf16, two decimal digits: fp32 has to mean fp32.
        config[hint.inference_precision] = openvino.Type.f32
        if options.threads is not None:
            config[properties.inference_num_threads] = options.threads
    else:
        # GPUs and NPUs compute in f16 by default; this keeps each model's own precision.
        config[hint.execution_mode] = hint.ExecutionMode.ACCURACY
    return config


def _signature(path: Path, model: "openvino.Model") -> Signature:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelFileError(f"{path}: want one input and one output, got {len(model.inputs)} and {len(model.outputs)}")
    (image,), (logits,) = model.inputs, model.outputs
    return Signature(
        input_shape=_shape(image.get_partial_shape()),
        input_dtype=image.get_element_type().to_dtype().name,
        output_shape=_shape(logits.get_partial_shape()),
        output_dtype=logits.get_element_type().to_dtype().name,
    )


def _shape(declared: "openvino.PartialShape") -> tuple[int, ...]:
    if declared.rank.is_dynamic:
        return ()
    return tuple(ANY if size.is_dynamic else size.get_length() for size in declared)


def _first_line(error: Exception) -> str:
    """The first line that says something: those before it name the places in OpenVINO's source that it passed."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from ", "Check '"))]
    return (telling or lines or [type(error).__name__])[0]
