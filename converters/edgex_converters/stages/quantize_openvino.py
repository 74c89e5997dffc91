"""OpenVINO IR fp32 → int8 by NNCF: symmetric weights, asymmetric activations, fast bias correction."""

from pathlib import Path

import nncf
import openvino
from nncf.quantization.advanced_parameters import OverflowFix
from nncf.quantization.range_estimator import RangeEstimatorParameters, RangeEstimatorParametersSet

from edgex_converters.config import Range
from edgex_converters.stage import Job
from edgex_converters.stages.openvino_names import number_by_place

# None is NNCF's own choice of estimator: the extremes of all photos.
_RANGES: dict[Range, RangeEstimatorParameters | None] = {
    "minmax": None,
    "mean": RangeEstimatorParametersSet.MEAN_MINMAX,
    "percentile": RangeEstimatorParametersSet.MEAN_QUANTILE,
}
_RANGES["recommended"] = _RANGES["minmax"]


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Quantise.

    With 8-bit weights the u8·s8 products saturate on CPUs without VNNI, as in `quantize_onnx`; NNCF's own default keeps
    only the first layer from it.
    """
    images = job.calibration_images
    settings = nncf.AdvancedQuantizationParameters(
        overflow_fix=OverflowFix.ENABLE if job.quantize.weight_bits == 7 else OverflowFix.FIRST_LAYER
    )
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
    number_by_place(model)
    openvino.save_model(model, destination, compress_to_fp16=False)
