"""OpenVINO IR fp32 → int8 by NNCF: symmetric weights, asymmetric activations, fast bias correction."""

from pathlib import Path

import nncf
import openvino
from nncf.quantization.advanced_parameters import OverflowFix
from nncf.quantization.range_estimator import RangeEstimatorParameters, RangeEstimatorParametersSet

from edgex_converters import learned
from edgex_converters.config import Range
from edgex_converters.stage import Job
from edgex_converters.stages import blame_openvino, learned_openvino
from edgex_converters.stages.openvino_names import number_by_place

# None is NNCF's own choice of estimator: the extremes of all photos.
_RANGES: dict[Range, RangeEstimatorParameters | None] = {
    "minmax": None,
    "mean": RangeEstimatorParametersSet.MEAN_MINMAX,
    "percentile": RangeEstimatorParametersSet.MEAN_QUANTILE,
}
_RANGES["recommended"] = _RANGES["minmax"]


def run(job: Job, source: Path | None, destination: Path) -> tuple[str, ...] | None:
    """Quantise.

    With 8-bit weights the u8·s8 products saturate on CPUs without VNNI, as in `quantize_onnx`; NNCF's own default keeps
    only the first layer from it.
    """
    assert source is not None  # The recipe starts from the fp32 file.
    images = job.calibration_images
    settings = nncf.AdvancedQuantizationParameters(
        overflow_fix=OverflowFix.ENABLE if job.quantize.weight_bits == 7 else OverflowFix.FIRST_LAYER
    )
    if job.ranges is not None:
        learned.require_seven_bits(job.quantize.weight_bits)
        settings.disable_bias_correction = True  # They were learned with what rounding does to them.
    estimator = _RANGES[job.quantize.activation_range]
    if estimator is not None:
        settings.activations_range_estimator_params = estimator
    model = nncf.quantize(
        openvino.Core().read_model(source),
        nncf.Dataset(images, lambda image: image[None]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=list(job.keep_float)) if job.keep_float else None,
        advanced_parameters=settings,
    )
    if job.ranges is not None:
        learned_openvino.write(model, blame_openvino.read(source), job.ranges)
    number_by_place(model)
    openvino.save_model(model, destination, compress_to_fp16=False)
    if job.ranges is None:
        return None
    return (learned.require_in_file(blame_openvino.read(destination), blame_openvino.read(source), job.ranges),)
