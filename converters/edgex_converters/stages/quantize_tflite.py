"""TFLite fp32 → int8 by AI Edge Quantizer: static, per-channel symmetric weights, uint8 in and float32 logits out."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils
from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.utils import qsv_utils

from edgex_converters import learned
from edgex_converters.config import Range
from edgex_converters.stage import Job
from edgex_converters.stages import biases_tflite, blame_tflite, correct_bias, learned_tflite
from edgex_runtime.errors import StageError

# What is known of a tensor: "min" and "max", and what the rules below note.
_Seen = dict[str, Any]
_Update = Callable[[_Seen, _Seen], _Seen]


def _mean(old: _Seen, new: _Seen) -> _Seen:
    """The mean of the photos' extremes: the tool's own moving average is mostly the last twenty."""
    photos = old.get("photos", 1) + 1
    return {end: old[end] + (new[end] - old[end]) / photos for end in ("min", "max")} | {"photos": photos}


_UPDATES: dict[Range, _Update] = {"minmax": qsv_utils.min_max_update, "mean": _mean}
_UPDATES["recommended"] = _UPDATES["mean"]
_FILES = correct_bias.Format(read=blame_tflite.read, tap=blame_tflite.tap, add=biases_tflite.add)


def run(job: Job, source: Path | None, destination: Path) -> tuple[str, ...]:
    """Quantise.

    Raises:
        StageError: If the range is one that this tool has not.
    """
    assert source is not None  # The recipe starts from the fp32 file.
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
    for scope in job.keep_float:
        rules.add_quantization_config(
            re.escape(scope),
            qtyping.TFLOperationName.ALL_SUPPORTED,
            qtyping.OpQuantizationConfig(),
            AlgorithmName.NO_QUANTIZE,
        )
    with warnings.catch_warnings():
        # "experimental_preserve_all_tensors is for debugging": it is how the tool itself reads the ranges.
        warnings.simplefilter("ignore")
        # Quantizer.calibrate would fix the update rule at the moving average.
        watcher = calibrator.Calibrator(str(source), qsv_update_func=_with_extremes(update))
        watcher.calibrate({"serving_default": [{"args_0": image[None]} for image in job.calibration_images]}, rules)
        tool = quantizer.Quantizer(str(source), rules.get_quantization_recipe())
        seen = _uncut_logits(source, watcher.get_model_qsvs())
        if job.ranges is not None:
            seen = learned_tflite.put(source, blame_tflite.read(source), job.ranges, seen)
        tool.quantize(seen).export_model(str(destination))
    if job.ranges is not None:
        return (learned.require_in_file(blame_tflite.read(destination), blame_tflite.read(source), job.ranges),)
    return (correct_bias.run(_FILES, source, destination, job.calibration_images),)


def _with_extremes(update: _Update) -> _Update:
    """The same rule, which also notes the extremes."""

    def both(old: _Seen, new: _Seen) -> _Seen:
        extremes = {
            "lowest": np.minimum(old["lowest"] if "lowest" in old else old["min"], new["min"]),
            "highest": np.maximum(old["highest"] if "highest" in old else old["max"], new["max"]),
        }
        return update(old, new) | extremes

    return both


def _uncut_logits(source: Path, seen: dict[str, _Seen]) -> dict[str, _Seen]:
    """Give the logits the range of all photos: one that fits most of them cuts the logits of the surest.

    On Xception that cut was more than half of the whole error.
    """
    graph = flatbuffer_utils.read_model(str(source)).subgraphs[0]
    logits = seen.get(graph.tensors[graph.outputs[0]].name.decode(), {})
    if "lowest" in logits:
        logits |= {"min": logits["lowest"], "max": logits["highest"]}
    notes = ("lowest", "highest", "photos")
    return {name: {key: qsv[key] for key in qsv if key not in notes} for name, qsv in seen.items()}
