"""ONNX fp32 → int8: static QDQ, per-channel weights, unsigned activations, by onnxruntime."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from edgex_converters import learned
from edgex_converters.config import Range
from edgex_converters.stage import Job
from edgex_converters.stages import biases_onnx, blame_onnx, correct_bias, learned_onnx
from edgex_converters.stages.export_onnx import INPUT

_METHODS: dict[Range, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    # It moves between calls of `collect_data`, of which there is one: the mean of all photos' extremes.
    "mean": (CalibrationMethod.MinMax, {"CalibMovingAverage": True}),
    "percentile": (CalibrationMethod.Percentile, {"CalibPercentile": 99.99}),
}
_METHODS["recommended"] = _METHODS["mean"]
_FILES = correct_bias.Format(read=blame_onnx.read, tap=blame_onnx.tap, add=biases_onnx.add)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the calibration photos over one by one."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._images: Iterator[NDArray[np.uint8]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        image = next(self._images, None)
        return None if image is None else {INPUT: image[None]}


def run(job: Job, source: Path | None, destination: Path) -> tuple[str, ...]:
    """Quantise.

    With 8-bit weights two u8·s8 products overflow the 16-bit sum of `vpmaddubsw`, which x86 CPUs without VNNI use: the
    same file then answers differently there. 7-bit weights cannot overflow it.
    """
    assert source is not None  # The recipe starts from the fp32 file.
    if job.ranges is not None:
        learned.require_seven_bits(job.quantize.weight_bits)
        graph = blame_onnx.read(source)
        _quantize(job, source, destination, learned_onnx.options(source, graph, job.ranges))
        return (learned.require_in_file(blame_onnx.read(destination), graph, job.ranges),)
    _quantize(job, source, destination, {})
    return (correct_bias.run(_FILES, source, destination, job.calibration_images),)


def _quantize(job: Job, source: Path, destination: Path, ranges: dict[str, Any]) -> None:
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
        nodes_to_exclude=list(job.keep_float),
        calibrate_method=method,
        extra_options=options | _float_logits(source) | ranges,
    )


def _float_logits(source: Path) -> dict[str, Any]:
    """Leave the logits in float: a range that fits most photos cuts those of the surest.

    On Xception that cut was more than half of the whole error.
    """
    graph = onnx.load(source).graph
    last = next(node for node in graph.node if graph.output[0].name in node.output)
    return {"OpTypesToExcludeOutputQuantization": [last.op_type]} if last.op_type in ("Gemm", "MatMul") else {}
