"""ONNX fp32 → int8: static QDQ, per-channel weights, unsigned activations, by onnxruntime."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from edgex_converters.config import Range
from edgex_converters.stage import Job
from edgex_converters.stages.export_onnx import INPUT

_METHODS: dict[Range, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "moving-average": (CalibrationMethod.MinMax, {"CalibMovingAverage": True, "CalibMovingAverageConstant": 0.05}),
    "percentile": (CalibrationMethod.Percentile, {"CalibPercentile": 99.99}),
}
_METHODS["recommended"] = _METHODS["moving-average"]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the calibration photos over one by one."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._images: Iterator[NDArray[np.uint8]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        image = next(self._images, None)
        return None if image is None else {INPUT: image[None]}


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Quantise.

    With 8-bit weights two u8·s8 products overflow the 16-bit sum of `vpmaddubsw`, which x86 CPUs without VNNI use: the
    same file then answers differently there. 7-bit weights cannot overflow it.
    """
    method, options = _METHODS[job.quantize.activation_range]
    quantize_static(
        str(source),
        str(destination),
        _Reader(job.calibration_images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=job.quantize.weight_bits == 7,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=method,
        extra_options=options,
    )
