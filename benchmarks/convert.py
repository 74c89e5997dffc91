"""What the pipeline costs beyond its tools: the bare calls (export, quantise, evaluate) against the whole matrix.

    python benchmarks/convert.py CHECKPOINT --calib DIR --eval DIR [--threads N] [--calib-images N]

One run: bare, pipeline (``--no-cache``), bare, each in a process of its own; its tools are imported, and for the bare
calls the photos decoded, before the clock starts. The bare sum is the mean of the two, so that a machine that grows
busy falls on both sides; CPU seconds stand beside the seconds, since others may use the machine. The bare calls are
the tools' own, written out here, with the options that the pipeline gives them: three exports, three conversions to
half precision, three quantisations, and the answers of each file, and of the network itself, to every evaluation
photo. Not among them: reading the photos, the gates, the contracts with their self-tests, the timing of all artifacts
in turn. What has to hold: at most 1.3 × the bare sum. Each side's greatest memory stands below the ratios.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from edgex_runtime.privacy import decline_telemetry

decline_telemetry()


@dataclass
class Clock:
    """Seconds of each step, by name."""

    steps: dict[str, float]
    cpu: float = 0.0

    def time(self, name: str, call: Callable[[], object]) -> None:
        """Run `call`, and note what it took."""
        started, cpu = time.perf_counter(), time.process_time()
        call()
        self.steps[name] = time.perf_counter() - started
        self.cpu += time.process_time() - cpu


def run_bare(options: argparse.Namespace, out: Path) -> dict[str, float]:
    """The tools' own calls."""
    import litert_torch
    import nncf
    import onnx
    import onnxruntime
    import openvino
    import torch
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.utils import qsv_utils
    from nncf.quantization.advanced_parameters import OverflowFix
    from onnxruntime import quantization
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from openvino.properties import hint

    from edgex.networks.checkpoint import load_deployed
    from edgex_converters.config import QuantizeConfig
    from edgex_converters.stages import calibrate
    from edgex_runtime import dataset
    from edgex_runtime.metadata.registry import read_spec

    spec, network = read_spec(options.checkpoint), load_deployed(options.checkpoint)
    assert spec is not None
    photos = dataset.scan(options.eval)
    settings = QuantizeConfig(calibration_images=options.calib_images)
    calibration = calibrate.decode(calibrate.choose(dataset.scan(options.calib), photos, settings), spec).inputs
    images = calibrate.decode(photos, spec).inputs
    clock, size = Clock({}), (spec.input.height, spec.input.width, 3)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(calibration)

        def get_next(self) -> dict[str, object] | None:
            image = next(self.left, None)
            return None if image is None else {"image": image[None]}

    def export_onnx() -> None:
        torch.onnx.export(
            network,
            (torch.zeros((2, *size), dtype=torch.uint8),),
            str(out / "fp32.onnx"),
            dynamo=True,
            opset_version=18,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65535)},),
            input_names=["image"],
            output_names=["logits"],
            verbose=False,
        )

    def quantize_onnx() -> None:
        quantization.quantize_static(
            str(out / "fp32.onnx"),
            str(out / "int8.onnx"),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"CalibMovingAverage": True, "CalibMovingAverageConstant": 0.05},
        )

    def quantize_openvino() -> None:
        model = nncf.quantize(
            openvino.Core().read_model(out / "fp32.xml"),
            nncf.Dataset(calibration, lambda image: image[None]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
        )
        openvino.save_model(model, out / "int8.xml", compress_to_fp16=False)

    def half_tflite() -> None:
        tool = quantizer.Quantizer(str(out / "fp32.tflite"))
        weights = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
        tool.update_quantization_recipe(
            ".*",
            qtyping.TFLOperationName.ALL_SUPPORTED,
            qtyping.OpQuantizationConfig(
                weight_tensor_config=weights,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            algorithm_key=AlgorithmName.FLOAT_CASTING,
        )
        tool.quantize().export_model(str(out / "fp16.tflite"))

    def quantize_tflite() -> None:
        rules = recipe_manager.RecipeManager()
        rules.load_quantization_recipe(recipe.static_wi8_ai8())
        kept = AlgorithmName.NO_QUANTIZE
        rules.add_quantization_config(".*", qtyping.TFLOperationName.OUTPUT, qtyping.OpQuantizationConfig(), kept)
        watcher = calibrator.Calibrator(str(out / "fp32.tflite"), qsv_update_func=qsv_utils.moving_average_update)
        watcher.calibrate({"serving_default": [{"args_0": image[None]} for image in calibration]}, rules)
        tool = quantizer.Quantizer(str(out / "fp32.tflite"), rules.get_quantization_recipe())
        tool.quantize(watcher.get_model_qsvs()).export_model(str(out / "int8.tflite"))

    def evaluate_onnx(path: Path) -> None:
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(str(path), session_options, providers=["CPUExecutionProvider"])
        for image in images:
            session.run(None, {"image": image[None]})

    def evaluate_openvino(path: Path) -> None:
        config = {
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            openvino.properties.inference_num_threads: options.threads,
        }
        compiled = openvino.Core().compile_model(path, "CPU", config)
        for image in images:
            compiled(image[None])

    def evaluate_tflite(path: Path) -> None:
        interpreter = Interpreter(model_path=str(path), num_threads=options.threads)
        interpreter.allocate_tensors()
        place = interpreter.get_input_details()[0]["index"]
        for image in images:
            interpreter.set_tensor(place, image[None])
            interpreter.invoke()

    def evaluate_network() -> None:
        with torch.inference_mode():
            for start in range(0, len(images), 8):
                network(torch.from_numpy(images[start : start + 8]))

    clock.time("export_onnx", export_onnx)
    half = str(out / "fp16.onnx")
    clock.time(
        "half_onnx",
        lambda: onnx.save(convert_float_to_float16(onnx.load(out / "fp32.onnx"), keep_io_types=True), half),
    )
    clock.time("quantize_onnx", quantize_onnx)
    onnx_file, ir = out / "fp32.onnx", out / "fp32.xml"
    clock.time(
        "export_openvino",
        lambda: openvino.save_model(openvino.convert_model(onnx_file), ir, compress_to_fp16=False),
    )
    clock.time(
        "half_openvino",
        lambda: openvino.save_model(openvino.Core().read_model(ir), out / "fp16.xml", compress_to_fp16=True),
    )
    clock.time("quantize_openvino", quantize_openvino)
    example = (torch.zeros((1, *size), dtype=torch.uint8),)
    clock.time("export_tflite", lambda: litert_torch.convert(network, example).export(str(out / "fp32.tflite")))
    clock.time("half_tflite", half_tflite)
    clock.time("quantize_tflite", quantize_tflite)
    for suffix, evaluate in ((".onnx", evaluate_onnx), (".xml", evaluate_openvino), (".tflite", evaluate_tflite)):
        for precision in ("fp32", "fp16", "int8"):
            path = out / f"{precision}{suffix}"
            clock.time(f"evaluate {path.name}", lambda run=evaluate, path=path: run(path))  # type: ignore[misc]
    clock.time("evaluate network", evaluate_network)
    return {**clock.steps, "cpu": clock.cpu}


class Silent:
    """Watches nothing."""

    def begin(self, step: str) -> None:
        """Not told."""

    def advance(self, done: int, total: int) -> None:
        """Not told."""

    def finish(self, outcome: object) -> None:
        """Not told."""


def run_pipeline(options: argparse.Namespace, out: Path) -> dict[str, float]:
    """The whole matrix, gates included."""
    from edgex.networks.source import Missing, resolve
    from edgex_converters import work
    from edgex_converters.config import ConvertConfig, QuantizeConfig
    from edgex_converters.pipeline import convert
    from edgex_converters.recipes import STAGES

    work.load_tools(STAGES, out / "log")
    config = ConvertConfig(
        name="bench",
        out=out / "artifacts",
        evaluation=options.eval,
        calibration=options.calib,
        quantize=QuantizeConfig(calibration_images=options.calib_images),
        threads=options.threads,
        use_cache=False,
    )
    started, cpu = time.perf_counter(), time.process_time()
    conversion = convert(resolve(str(options.checkpoint), Missing()), config, Silent())
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    broken = [str(outcome.target) for outcome in conversion.outcomes if outcome.status == "broken"]
    if broken:
        sys.exit(f"not made: {', '.join(broken)}: there is nothing to compare")
    steps = {
        step.name if "_" in step.name else f"{step.name} {outcome.target}": step.seconds
        for outcome in conversion.outcomes
        for step in outcome.steps
    }
    return {**steps, "photos, reference, timing": seconds - sum(steps.values()), "cpu": cpu}


RUNS = {"bare": run_bare, "pipeline": run_pipeline}


def measure(arguments: list[str], kind: str) -> dict[str, float]:
    """One side, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "seconds.json"
        command = [sys.executable, __file__, *arguments, "--only", kind, "--answer", str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{kind} broke:\n{done.stderr[-3000:]}")
        seconds: dict[str, float] = json.loads(answer.read_text())
    return seconds


def main() -> None:
    """Print each side's steps and the ratio of their sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--eval", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calib-images", type=int, default=96)
    parser.add_argument("--only", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        warnings.simplefilter("ignore")
        with tempfile.TemporaryDirectory() as folder:
            taken = RUNS[options.only](options, Path(folder))
            # A worker of the pipeline's counts by itself: the greatest of all processes, not their sum.
            kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            options.answer.write_text(json.dumps(taken | {"GiB": kib / 2**20}))
        return
    bare, whole, again = (measure(sys.argv[1:], kind) for kind in ("bare", "pipeline", "bare"))
    cpu = [side.pop("cpu") for side in (bare, again, whole)]
    memory = [side.pop("GiB") for side in (bare, again, whole)]
    seconds = [sum(side.values()) for side in (bare, again, whole)]
    title = f"{options.checkpoint.name}, {options.threads} threads"
    table = Table("bare call", "s", "pipeline's step", "s", title=title)
    left = [(name, f"{mean((bare[name], again[name])):.2f}") for name in bare]
    right = [(name, f"{taken:.2f}") for name, taken in whole.items()]
    for index in range(max(len(left), len(right))):
        table.add_row(*(left[index] if index < len(left) else ("", "")), *(right[index] if index < len(right) else ()))
    Console().print(table)
    for unit, (first, second, pipeline) in (("s", seconds), ("CPU s", cpu)):
        ratio = pipeline / mean((first, second))
        Console().print(f"bare {first:.1f} and {second:.1f} {unit}, pipeline {pipeline:.1f} {unit}: {ratio:.2f} ×")
    Console().print(f"greatest memory: bare {max(memory[:2]):.1f} GiB, pipeline {memory[2]:.1f} GiB")


if __name__ == "__main__":
    main()
