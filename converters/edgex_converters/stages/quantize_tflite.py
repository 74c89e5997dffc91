"""TFLite fp32 → int8 by AI Edge Quantizer: static, per-channel symmetric weights, uint8 in and float32 logits out."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.utils import qsv_utils

from edgex_converters.config import Range
from edgex_converters.stage import Job
from edgex_runtime.errors import StageError

_UPDATES: dict[Range, Callable[..., Any]] = {
    "minmax": qsv_utils.min_max_update,
    "moving-average": qsv_utils.moving_average_update,
}
_UPDATES["recommended"] = _UPDATES["moving-average"]


def run(job: Job, source: Path | None, destination: Path) -> None:
    """Quantise.

    Raises:
        StageError: If the range is one that this tool has not.
    """
    update = _UPDATES.get(job.quantize.activation_range)
    if update is None:
        known = ", ".join(_UPDATES)
        raise StageError(f"quantize_tflite: want a range of {known}, got {job.quantize.activation_range!r}")
    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe.static_wi8_ai8())
    # The contract's logits are float32 in every format: the last op's result leaves the graph dequantised.
    rules.add_quantization_config(
        ".*", qtyping.TFLOperationName.OUTPUT, qtyping.OpQuantizationConfig(), AlgorithmName.NO_QUANTIZE
    )
    with warnings.catch_warnings():
        # "experimental_preserve_all_tensors is for debugging": it is how the tool itself reads the ranges.
        warnings.simplefilter("ignore")
        # Quantizer.calibrate would fix the update rule at the moving average.
        watcher = calibrator.Calibrator(str(source), qsv_update_func=update)
        watcher.calibrate({"serving_default": [{"args_0": image[None]} for image in job.calibration_images]}, rules)
        tool = quantizer.Quantizer(str(source), rules.get_quantization_recipe())
        tool.quantize(watcher.get_model_qsvs()).export_model(str(destination))
